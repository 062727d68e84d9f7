/*
 * image_expected.h
 *		Made by test/unit/tools/image_expected.py; do not edit.
 */
/* clang-format off */
static const double image_expected_0[] = {
	-0.239898781, -2.24392534, 1.61480183, -3.92362763, -0.743198353, 1.12524738, 1.71756251, -1.09785879,
	-0.504423962, -2.16950827, 1.73363312, -3.90586265, -0.66216844, 1.27923513, 1.62051745, -0.589169685,
	-0.191152656, -2.67894202, 1.87297551, -4.33346235, -1.20702255, 0.846803706, 1.86528867, -1.2007375,
};

static const double image_expected_1[] = {
	0, 0.0792898361, 0, 0.0979744976, 0.043767672, 0.164139742, 0.00707307561, 0,
	0, 0.0676560643, 0, 0.109331295, 0.0454339963, 0.186918319, 0.0147216049, 0.000778096502,
	0, 0.0654993325, 0, 0.135498729, 0.0577481744, 0.184494672, 0.012919998, 0,
};

static const double image_expected_2[] = {
	-0.294928812, 0.275871609, -0.228083741, -0.218126711, -0.228038011, -0.620250235, -0.545884917, -0.00972927513,
	-0.292486123, 0.267372457, -0.218295153, -0.223013076, -0.230244785, -0.611459488, -0.539926742, -0.0365352829,
	-0.280648862, 0.313859918, -0.235883315, -0.238125128, -0.255527619, -0.623351948, -0.555587355, -0.0358905217,
};

static const double image_expected_3[] = {
	-9.57188186, 4.02014866, -7.68209493, 2.82299264, -10.6191772, -6.58151007, -4.45253953, -7.96862011,
	-10.3575629, 6.60741784, -2.6485538, -0.965354528, -17.8778831, -12.6653967, -1.8087835, -2.79389838,
	-7.11749476, 10.4005522, -4.118799, -1.17054142, -13.2591646, -8.1559911, -4.17890529, 2.13831853,
};

static const double image_expected_4[] = {
	0.650613341, -0.370799935, -1.00415732, -1.01040044, 1.2883739, 0.27170915, -0.599241115, 0.681288179,
	0.548603941, 0.385199544, -0.866590861, -0.687006244, 1.43884928, 1.20069186, -0.626243338, 0.334759466,
	1.42190277, -1.17921928, -1.27186007, -1.1900401, 0.197905244, 0.533028948, -1.69984923, 1.69736153,
};

static const double image_expected_5[] = {
	0.114748291, -0.155520509, 0.0647547726, 0.0422053496, 0.0275785237, 0.308798972, 0.106241333, 0.0422624032,
	0.180170545, -0.194679025, -0.139325535, 0.0744231263, -0.104578531, 0.17361811, 0.106490383, 0.00333751824,
	0.133086431, -0.205746238, -0.0219669693, 0.0560422254, 0.0424828697, 0.225532817, 0.150468141, -0.0602201473,
};

static const double image_expected_6[] = {
	-0.171860802, -0.0585728369, 0.377765743, -0.0460543488, 0.0741487326, -0.241489024, 0.0871367954, -0.0687535023,
	-0.0781371909, -0.0341913253, 0.401396717, -0.0498555295, 0.0825253923, -0.159049378, 0.104091828, -0.0723477221,
	-0.26440935, 0.0356990403, 0.378957571, -0.0123116635, 0.0770693063, -0.0843643882, 0.139353768, -0.0917278021,
};

static const double image_expected_7[] = {
	0.755465815, -0.651062988, -0.921209439, -0.278973057, 0.320929909, -0.0853318579, -0.414707475, 0.642928039,
	0.337549142, -0.285772292, -0.925454859, -0.187804312, 0.837829305, -0.15770713, -0.570277833, 0.195457131,
	0.342803997, -0.719616956, -1.20861347, -0.0702894789, 0.86682969, -0.163043381, -0.415190917, 0.346266755,
};

static const struct
{
	const char *spec;
	const double *expected;
} image_families[] = {
	{"{\"version\": 1, \"family\": \"small\", \"kind\": \"conv\", \"height\": 12, \"width\": 10, \"channels\": 3, \"layers\": [{\"kind\": \"conv\", \"out\": 16, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 1, \"padding\": 1, \"norm\": true, \"epsilon\": 1e-05, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 16, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 1, \"padding\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 1, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 16, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 1, \"padding\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 2, \"add\": 1, \"activation\": \"relu\"}, {\"kind\": \"shortcut\", \"input\": 3, \"out\": 24, \"stride\": 2}, {\"kind\": \"conv\", \"out\": 24, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 2, \"padding\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 3, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 24, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 1, \"padding\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 5, \"add\": 4, \"activation\": \"relu\"}, {\"kind\": \"global_average\", \"input\": 6, \"out\": 24}], \"modules\": [{\"kind\": \"dense\", \"in\": 24, \"out\": 10, \"bias\": true}]}", image_expected_0},
	{"{\"version\": 1, \"family\": \"bottleneck\", \"kind\": \"conv\", \"height\": 33, \"width\": 40, \"channels\": 3, \"layers\": [{\"kind\": \"conv\", \"out\": 20, \"kernel_height\": 7, \"kernel_width\": 7, \"stride\": 2, \"padding\": 3, \"norm\": true, \"epsilon\": 1e-05, \"activation\": \"relu\"}, {\"kind\": \"max_pool\", \"out\": 20, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 2, \"input\": 1, \"padding\": 1}, {\"kind\": \"conv\", \"out\": 64, \"kernel_height\": 1, \"kernel_width\": 1, \"stride\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 2}, {\"kind\": \"conv\", \"out\": 16, \"kernel_height\": 1, \"kernel_width\": 1, \"stride\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 2, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 16, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 1, \"padding\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 4, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 64, \"kernel_height\": 1, \"kernel_width\": 1, \"stride\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 5, \"add\": 3, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 80, \"kernel_height\": 1, \"kernel_width\": 1, \"stride\": 2, \"norm\": true, \"epsilon\": 1e-05, \"input\": 6}, {\"kind\": \"conv\", \"out\": 20, \"kernel_height\": 1, \"kernel_width\": 1, \"stride\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 6, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 20, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 2, \"padding\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 8, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 80, \"kernel_height\": 1, \"kernel_width\": 1, \"stride\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 9, \"add\": 7, \"activation\": \"relu\"}, {\"kind\": \"global_average\", \"input\": 10, \"out\": 80}], \"modules\": [{\"kind\": \"normalize\", \"in\": 80, \"out\": 80}]}", image_expected_1},
	{"{\"version\": 1, \"family\": \"other\", \"kind\": \"conv\", \"height\": 17, \"width\": 23, \"channels\": 5, \"layers\": [{\"kind\": \"conv\", \"out\": 7, \"kernel_height\": 3, \"kernel_width\": 5, \"stride\": 1, \"padding\": 2, \"bias\": true, \"activation\": \"gelu\"}, {\"kind\": \"average_pool\", \"out\": 7, \"kernel_height\": 2, \"kernel_width\": 2, \"stride\": 2, \"input\": 1}, {\"kind\": \"conv\", \"out\": 40, \"kernel_height\": 1, \"kernel_width\": 3, \"stride\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 2, \"bias\": true, \"activation\": \"silu\"}, {\"kind\": \"max_pool\", \"out\": 40, \"kernel_height\": 2, \"kernel_width\": 2, \"stride\": 1, \"input\": 3}, {\"kind\": \"conv\", \"out\": 33, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 3, \"padding\": 2, \"input\": 4, \"activation\": \"sigmoid\"}, {\"kind\": \"conv\", \"out\": 16, \"kernel_height\": 2, \"kernel_width\": 2, \"stride\": 1, \"padding\": 1, \"norm\": true, \"epsilon\": 1e-05, \"input\": 5, \"activation\": \"tanh\"}, {\"kind\": \"average_pool\", \"out\": 16, \"kernel_height\": 4, \"kernel_width\": 4, \"stride\": 4, \"input\": 6}]}", image_expected_2},
	{"{\"version\": 1, \"family\": \"wide\", \"kind\": \"conv\", \"height\": 3, \"width\": 3, \"channels\": 64, \"layers\": [{\"kind\": \"conv\", \"out\": 1024, \"kernel_height\": 1, \"kernel_width\": 1, \"stride\": 1, \"activation\": \"relu\"}, {\"kind\": \"conv\", \"out\": 64, \"kernel_height\": 3, \"kernel_width\": 3, \"stride\": 1, \"padding\": 1, \"input\": 1}, {\"kind\": \"global_average\", \"input\": 2, \"out\": 64}]}", image_expected_3},
	{"{\"version\": 1, \"family\": \"vit\", \"kind\": \"vit\", \"height\": 16, \"width\": 24, \"channels\": 3, \"patch\": 4, \"transformer\": {\"version\": 1, \"family\": \"vit\", \"kind\": \"patches\", \"patch_dims\": 48, \"hidden\": 48, \"layers\": 2, \"heads\": 4, \"head_dims\": 12, \"intermediate\": 80, \"activation\": \"gelu\", \"norm_epsilon\": 1e-05, \"max_tokens\": 25, \"positions\": 25, \"norm_bias\": true, \"qkv_bias\": true, \"out_bias\": true, \"up_bias\": true, \"down_bias\": true, \"norm_first\": true, \"patch_bias\": true, \"class_token\": true, \"final_norm\": true, \"pooling\": [\"cls\"]}}", image_expected_4},
	{"{\"version\": 1, \"family\": \"clip\", \"kind\": \"vit\", \"height\": 35, \"width\": 35, \"channels\": 3, \"patch\": 7, \"transformer\": {\"version\": 1, \"family\": \"vit\", \"kind\": \"patches\", \"patch_dims\": 147, \"hidden\": 48, \"layers\": 2, \"heads\": 4, \"head_dims\": 12, \"intermediate\": 80, \"activation\": \"quick_gelu\", \"norm_epsilon\": 1e-05, \"max_tokens\": 26, \"positions\": 26, \"norm_bias\": true, \"qkv_bias\": true, \"out_bias\": true, \"up_bias\": true, \"down_bias\": true, \"norm_first\": true, \"class_token\": true, \"embedding_norm\": true, \"final_norm\": true, \"pooling\": [\"cls\"], \"qkv_fused\": true, \"modules\": [{\"kind\": \"dense\", \"in\": 48, \"out\": 20}, {\"kind\": \"normalize\", \"in\": 20, \"out\": 20}]}}", image_expected_5},
	{"{\"version\": 1, \"family\": \"average\", \"kind\": \"vit\", \"height\": 8, \"width\": 8, \"channels\": 1, \"patch\": 2, \"transformer\": {\"version\": 1, \"family\": \"vit\", \"kind\": \"patches\", \"patch_dims\": 4, \"hidden\": 48, \"layers\": 2, \"heads\": 4, \"head_dims\": 12, \"intermediate\": 80, \"activation\": \"gelu\", \"norm_epsilon\": 1e-05, \"max_tokens\": 17, \"positions\": 17, \"norm_bias\": true, \"qkv_bias\": true, \"out_bias\": true, \"up_bias\": true, \"down_bias\": true, \"norm_first\": true, \"class_token\": true, \"pooling\": [\"mean\"], \"pool_skip\": 1, \"modules\": [{\"kind\": \"norm\", \"in\": 48, \"out\": 48, \"epsilon\": 1e-05, \"bias\": true}]}}", image_expected_6},
	{"{\"version\": 1, \"family\": \"plain\", \"kind\": \"vit\", \"height\": 40, \"width\": 40, \"channels\": 3, \"patch\": 4, \"transformer\": {\"version\": 1, \"family\": \"vit\", \"kind\": \"patches\", \"patch_dims\": 48, \"hidden\": 48, \"layers\": 2, \"heads\": 4, \"head_dims\": 12, \"intermediate\": 80, \"activation\": \"gelu\", \"norm_epsilon\": 1e-05, \"max_tokens\": 100, \"positions\": 100, \"norm_bias\": true, \"qkv_bias\": true, \"out_bias\": true, \"up_bias\": true, \"down_bias\": true, \"norm_first\": true, \"patch_bias\": true, \"pooling\": [\"mean\"]}}", image_expected_7},
};
/* clang-format on */
