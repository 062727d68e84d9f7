#!/usr/bin/env perl
# A catalogue to try deepsearch with: the products of a Chinese shop for
# clothes and household goods, what its customers asked for and clicked, and
# queries to measure the search with.
#
#   test/demo/catalogue.pl FOLDER [products [pairs [seed]]]
#
# Writes three files that COPY reads:
#
#   products.tsv  id, title, department, category, season, colour, material, gender, brand, price
#   pairs.tsv     query, product_id, asked: a click, and the attributes that the customer had in
#                 mind as name=value;... (for checks; training uses query and product only)
#   queries.tsv   id, lang (zh, en, mixed), query, category, season, colour, material, gender:
#                 a product is relevant when it equals every attribute that is not empty
#
# Titles and queries name an attribute by any of its synonyms, so that the
# words of a query are often not in the titles that it should find.  Queries
# have typing errors, any order of words, English words; a few clicks are wrong.
#
# Some combinations of attributes are held out: no pair asks for one of them,
# alone or with something more, and queries.tsv asks for them only.  夏季连衣裙
# (summer dress) is one.
#
# The same arguments give the same files on every machine: the random numbers
# are our own, and nothing depends on the order of a hash.
package Catalogue;
use strict;
use warnings;
use utf8;

# Per category: department, names in Chinese (the first is the attribute's value), in English,
# seasons with weights, genders with weights, materials, price range.
our @CATEGORIES = map { category($_) } grep { /\S/ } split /\n/, <<'TABLE';
服装|连衣裙 裙子 长裙 连身裙|dress,dresses|夏季5 春季3 秋季2 冬季1|女士4 儿童1|纯棉 雪纺 真丝 亚麻 针织|89 699
服装|半身裙 短裙 百褶裙 A字裙|skirt,skirts|夏季4 春季3 秋季2 冬季1|女士1|纯棉 雪纺 牛仔布 羊毛|59 399
服装|T恤 短袖 体恤 T恤衫|t-shirt,tee|夏季6 春季2 秋季1|女士3 男士3 儿童2|纯棉 亚麻 真丝 涤纶|29 199
服装|衬衫 衬衣 长袖衬衫|shirt,shirts|夏季2 春季4 秋季3 冬季1|女士2 男士3|纯棉 真丝 亚麻 雪纺|69 459
服装|牛仔裤 牛仔长裤 丹宁裤|jeans|夏季1 春季3 秋季3 冬季2|女士3 男士3 儿童1|牛仔布 纯棉|99 499
服装|休闲裤 长裤 直筒裤|trousers,pants|夏季2 春季3 秋季3 冬季2|女士2 男士3 儿童1|纯棉 亚麻 涤纶 羊毛|79 399
服装|短裤 五分裤 热裤|shorts|夏季8 春季1|女士3 男士3 儿童2|纯棉 亚麻 牛仔布 涤纶|39 199
服装|卫衣 连帽衫 套头衫|hoodie,sweatshirt|春季3 秋季4 冬季2|女士3 男士3 儿童2|纯棉 涤纶 针织|79 399
服装|毛衣 针织衫 线衫 毛线衫|sweater,jumper|春季2 秋季4 冬季5|女士3 男士2 儿童1|羊毛 纯棉 针织|99 799
服装|羽绒服 羽绒衣 鸭绒服|down jacket,puffer|冬季6 秋季1|女士3 男士3 儿童2|羽绒 涤纶|299 1999
服装|风衣 长风衣 风衣外套|trench coat,windbreaker|春季4 秋季5|女士3 男士2|纯棉 涤纶 亚麻|199 999
服装|夹克 夹克衫 机车服|jacket,jackets|春季4 秋季4 冬季1|女士2 男士4|真皮 涤纶 牛仔布 纯棉|159 1299
服装|大衣 呢子大衣 毛呢外套|overcoat,wool coat|冬季6 秋季3|女士4 男士2|羊毛 羊绒|299 2999
服装|西装 西服 小西装|suit,blazer|春季3 秋季3 冬季1 夏季1|女士2 男士4|羊毛 涤纶 亚麻|299 1999
服装|睡衣 家居服 睡衣套装|pajamas,sleepwear|夏季3 春季2 秋季2 冬季3|女士3 男士2 儿童2|纯棉 真丝 珊瑚绒|59 499
鞋帽|运动鞋 跑步鞋 跑鞋 球鞋|sneakers,running shoes|夏季2 春季3 秋季3 冬季1|女士3 男士4 儿童2|网面 真皮 帆布|129 899
鞋帽|凉鞋 露趾鞋 沙滩鞋|sandals|夏季9 春季1|女士4 男士2 儿童2|真皮 橡胶 帆布|69 499
鞋帽|靴子 短靴 马丁靴|boots|冬季5 秋季3|女士4 男士3|真皮 绒面 橡胶|199 1299
鞋帽|帽子 鸭舌帽 遮阳帽|hat,cap|夏季4 春季2 秋季2 冬季2|女士3 男士3 儿童2|纯棉 羊毛 亚麻|29 199
鞋帽|围巾 围脖 披肩|scarf,scarves|冬季6 秋季3|女士4 男士2 儿童1|羊毛 羊绒 真丝 纯棉|39 599
鞋帽|袜子 棉袜 短袜|socks|夏季2 春季2 秋季2 冬季3|女士2 男士3 儿童2|纯棉 羊毛 涤纶|9 69
家居|四件套 床上四件套 床品套件|bedding set,bedding|夏季3 春季2 秋季2 冬季3||纯棉 真丝 亚麻 珊瑚绒|159 1299
家居|被子 被芯 盖被|quilt,duvet|夏季3 春季2 秋季2 冬季5||纯棉 真丝 羽绒 羊毛|129 1599
家居|枕头 枕芯 护颈枕|pillow,pillows|夏季2 春季1 秋季1 冬季1||纯棉 羽绒 乳胶|39 399
家居|毛巾 面巾 洗脸巾|towel,towels|夏季2 春季1 秋季1 冬季1||纯棉 竹纤维 亚麻|9 89
家居|窗帘 遮光帘 帘子|curtain,curtains|夏季2 春季1 秋季1 冬季1||亚麻 涤纶 纯棉|69 899
家居|地毯 地垫 毯垫|rug,carpet|夏季1 春季1 秋季1 冬季3||羊毛 涤纶 纯棉|59 1299
家居|拖鞋 家居鞋 居家鞋|slippers|夏季4 春季1 秋季1 冬季4|女士3 男士3 儿童2|橡胶 纯棉 珊瑚绒|19 129
家居|保温杯 保温壶 随行杯|thermos,vacuum flask|夏季1 春季1 秋季2 冬季4||不锈钢 陶瓷 玻璃|49 299
家居|收纳箱 储物箱 整理箱|storage box,storage bin|夏季1 春季1 秋季1 冬季1||塑料 帆布 竹木|19 199
TABLE

# Values of the other attributes: names in Chinese (the first is the value) and in English.
our %VALUES = (
	season => values_of(<<'TABLE'),
夏季 夏天 夏款 夏日|summer
春季 春天 春款 春日|spring
秋季 秋天 秋款 秋日|autumn,fall
冬季 冬天 冬款 冬日|winter
TABLE
	colour => values_of(<<'TABLE'),
黑色 纯黑 炭黑|black
白色 纯白 奶白 本白|white
红色 大红 酒红 枣红|red
蓝色 天蓝 宝蓝 藏蓝|blue
灰色 浅灰 深灰 烟灰|grey,gray
粉色 粉红 樱花粉 藕粉|pink
绿色 墨绿 军绿 草绿|green
米色 杏色 奶油色|beige,cream
棕色 咖啡色 咖色 焦糖色|brown
黄色 鹅黄 姜黄 柠檬黄|yellow
紫色 香芋紫 浅紫 紫罗兰|purple
橙色 橘色 橘黄|orange
TABLE
	gender => values_of(<<'TABLE'),
女士 女款 女装 女生|women,ladies
男士 男款 男装 男生|men
儿童 童款 童装 小孩|kids,children
TABLE
	material => values_of(<<'TABLE'),
纯棉 全棉 棉质|cotton
雪纺 雪纺纱|chiffon
真丝 桑蚕丝 丝绸|silk
亚麻 棉麻 苎麻|linen
针织 编织|knitted
牛仔布 丹宁布|denim
羊毛 纯羊毛 美丽诺|wool
羊绒 山羊绒|cashmere
涤纶 聚酯纤维|polyester
羽绒 白鸭绒 鹅绒|down
真皮 牛皮 头层皮|leather
珊瑚绒 法兰绒|fleece
网面 透气网布|mesh
帆布 厚帆布|canvas
橡胶 软胶|rubber
绒面 磨砂皮|suede
乳胶 天然乳胶|latex
竹纤维 竹浆|bamboo
不锈钢 精钢|steel
陶瓷 白瓷|ceramic
玻璃 高硼硅|glass
塑料 加厚塑料|plastic
竹木 实木|wood
TABLE
);

our @ATTRIBUTES = qw(category season colour material gender);

# common colours first
my @COLOUR_WEIGHTS = (6, 6, 4, 4, 3, 3, 2, 2, 2, 1, 1, 1);

my @BRANDS = qw(云屿织 禾木坊 青栀里 拾光铺 暖阳家 白鹭居 山岚记 梧桐坊 小鹿町 蓝桥记 月见里 晴川舍
	知味屋 听雨阁 南浦织 星河里 半亩田 松间集 花朝坊 朴物居 鲸落记 北岸线 野渡舍 长桥坊);
my %STYLES = (
	服装 => [qw(法式 韩版 复古 简约 宽松 修身 显瘦 收腰 碎花 格子 条纹 通勤 气质 百搭 甜美 学院风 港风 刺绣 撞色 高腰)],
	鞋帽 => [qw(轻便 厚底 软底 防滑 百搭 复古 韩版 简约 休闲 户外 透气 拼色 潮流 加绒 英伦)],
	家居 => [qw(北欧 简约 日式 加厚 轻奢 田园 ins风 亲肤 大号 家用 宿舍 卡通 提花 防潮 高档)]);
my @SELLING = qw(新款 爆款 上新 正品 包邮 大码 高级感 小众 热卖 旗舰店 特价 ins 网红 时尚 舒适);
# characters that an input method puts in the place of others
my %TYPOS = (裙 => '群', 季 => '记', 衬 => '趁', 裤 => '库', 恤 => '血', 鞋 => '协', 棉 => '绵', 色 => '涩',
	帽 => '冒', 被 => '背', 枕 => '诊', 帘 => '连', 袜 => '沫', 绒 => '容', 士 => '是', 款 => '宽', 装 => '庄',
	真 => '珍', 毛 => '猫', 杯 => '背', 箱 => '香', 蓝 => '兰', 粉 => '份', 黑 => '嘿', 童 => '同');

our %SYNONYMS;    # attribute -> value -> [Chinese names]
our %ENGLISH;     # attribute -> value -> [English names]

sub values_of {
	return [map { my ($zh, $en) = split /\|/; {zh => [split / /, $zh], en => [split /,/, $en]} } split /\n/, $_[0]];
}

sub weighted {
	return [map { /^(\D+)(\d+)$/ or die "no weight: $_"; [$1, $2] } split / /, $_[0]];
}

sub category {
	my ($department, $zh, $en, $seasons, $genders, $materials, $price) = split /\|/, $_[0];
	return {
		department => $department, zh => [split / /, $zh], en => [split /,/, $en],
		seasons => weighted($seasons), genders => weighted($genders),
		materials => [split / /, $materials], price => [split / /, $price]};
}

for my $category (@CATEGORIES) {
	$SYNONYMS{category}{$category->{zh}[0]} = $category->{zh};
	$ENGLISH{category}{$category->{zh}[0]} = $category->{en};
}
for my $attribute (keys %VALUES) {
	for my $value (@{$VALUES{$attribute}}) {
		$SYNONYMS{$attribute}{$value->{zh}[0]} = $value->{zh};
		$ENGLISH{$attribute}{$value->{zh}[0]} = $value->{en};
	}
}

# --- random numbers: xorshift32 (Marsaglia, Journal of Statistical Software 2003) ---
my $state;

sub seed {
	$state = (($_[0] * 2654435761) & 0xffffffff) || 1;
	random() for 1 .. 16;
}

# uniform in [0, 1)
sub random {
	$state ^= ($state << 13) & 0xffffffff;
	$state ^= $state >> 17;
	$state ^= ($state << 5) & 0xffffffff;
	return $state / 4294967296;
}

sub chance { return random() < $_[0] }
sub below { return int(random() * $_[0]) }
sub pick { return $_[below(scalar @_)] }

sub pick_weighted {    # of [value, weight], ...
	my $total = 0;
	$total += $_->[1] for @_;
	my $at = random() * $total;
	for my $choice (@_) {
		return $choice->[0] if ($at -= $choice->[1]) < 0;
	}
	return $_[-1][0];
}

sub shuffle {
	my @list = @_;
	for (my $i = $#list; $i > 0; $i--) {
		my $j = below($i + 1);
		@list[$i, $j] = @list[$j, $i];
	}
	return @list;
}

# a synonym: the first one, the plain name, more often than the others
sub name_of {
	my ($names, $plain) = @_;
	return chance($plain) ? $names->[0] : pick(@$names);
}

# --- products ---
sub title {
	my ($product, $category) = @_;
	my @nouns = (name_of($category->{zh}, 0.3));
	# shops put a second name in, for the search engines
	if (chance(0.3)) {
		my $other = pick(@{$category->{zh}});
		push @nouns, $other if $other ne $nouns[0];
	}
	my @styles = (shuffle(@{$STYLES{$product->{department}}}))[0, 1];
	my $season = name_of($SYNONYMS{season}{$product->{season}}, 0.3);
	my $colour = name_of($SYNONYMS{colour}{$product->{colour}}, 0.4);
	my $material = name_of($SYNONYMS{material}{$product->{material}}, 0.4);
	my $gender = $product->{gender} eq '' ? '' : name_of($SYNONYMS{gender}{$product->{gender}}, 0.3);
	my $noun = shift @nouns;
	my $new = chance(0.3) ? '2026' : '';
	my @parts;
	if (chance(0.5)) {
		@parts = ($new . $season . $gender, $styles[0] . $material . $noun, $colour, @nouns, $styles[1]);
	} elsif (chance(0.5)) {
		@parts = ($colour . $material . $noun, $gender, $season . pick('', '新款', '上新'), $styles[0] . $styles[1], @nouns);
	} else {
		@parts = ($styles[0] . $noun . $gender . $season, $material . $styles[1], @nouns, $colour);
	}
	push @parts, pick(@SELLING) if chance(0.6);
	push @parts, $category->{en}[0] if chance(0.08);
	unshift @parts, $product->{brand} if chance(0.8);
	return join(chance(0.7) ? ' ' : '', grep { $_ ne '' } @parts);
}

sub make_products {
	my ($n) = @_;
	my @products;
	my @colours = map { [$VALUES{colour}[$_]{zh}[0], $COLOUR_WEIGHTS[$_]] } 0 .. $#COLOUR_WEIGHTS;
	for my $id (1 .. $n) {
		my $category = pick(@CATEGORIES);
		my ($low, $high) = @{$category->{price}};
		my $product = {
			id => $id, department => $category->{department}, category => $category->{zh}[0],
			season => pick_weighted(@{$category->{seasons}}),
			colour => pick_weighted(@colours),
			material => pick(@{$category->{materials}}),
			gender => @{$category->{genders}} ? pick_weighted(@{$category->{genders}}) : '',
			brand => pick(@BRANDS),
			# cheap ones are more frequent
			price => int($low + ($high - $low) * random() * random()) . '.' . pick('00', '90', '99')};
		$product->{title} = title($product, $category);
		push @products, $product;
	}
	return @products;
}

# --- queries ---
# A combination is a hash of attribute => value.  As a string it is name=value;... in the
# order of @ATTRIBUTES.
sub combination_string {
	my ($asked) = @_;
	return join ';', map { "$_=$asked->{$_}" } grep { defined $asked->{$_} } @ATTRIBUTES;
}

# Does the combination ask for everything that the other one asks for?
sub includes {
	my ($asked, $other) = @_;
	for my $attribute (keys %$other) {
		return 0 if !defined $asked->{$attribute} || $asked->{$attribute} ne $other->{$attribute};
	}
	return 1;
}

sub query_zh {
	my ($asked, $plain) = @_;
	my %word = map { $_ => name_of($SYNONYMS{$_}{$asked->{$_}}, $plain) } grep { defined $asked->{$_} } @ATTRIBUTES;
	my $noun = delete $word{category};
	my @words = map { $word{$_} } grep { defined $word{$_} } qw(season gender colour material);
	@words = shuffle(@words) if chance(0.3);
	if (@words && chance(0.1)) {
		return $noun . (chance(0.5) ? ' ' : '') . join(chance(0.5) ? ' ' : '', @words);
	}
	my $of = @words && chance(0.12) ? '的' : '';
	return join(chance(0.15) ? ' ' : '', @words, $of . $noun);
}

sub query_en {
	my ($asked) = @_;
	my %word = map { $_ => name_of($ENGLISH{$_}{$asked->{$_}}, 0.7) } grep { defined $asked->{$_} } @ATTRIBUTES;
	my $noun = delete $word{category};
	my $gender = delete $word{gender};
	my @words = map { $word{$_} } grep { defined $word{$_} } qw(colour season material);
	@words = shuffle(@words) if chance(0.3);
	if (defined $gender) {
		return join ' ', @words, $noun, 'for', $gender if chance(0.4);
		unshift @words, $gender =~ /men$|ren$/ ? "${gender}'s" : $gender;
	}
	return join ' ', @words, $noun;
}

# words of both languages
sub query_mixed {
	my ($asked) = @_;
	my @attributes = grep { defined $asked->{$_} } qw(gender season colour material category);
	return query_zh($asked, 0.6) . pick('', ' ') . pick('style', 'new', 'ins') if @attributes < 2;
	my $english = below(scalar @attributes);
	my @words;
	for my $i (0 .. $#attributes) {
		my $attribute = $attributes[$i];
		my $names = $i == $english ? $ENGLISH{$attribute} : $SYNONYMS{$attribute};
		push @words, name_of($names->{$asked->{$attribute}}, 0.6);
	}
	return join chance(0.6) ? ' ' : '', @words;
}

sub with_typo {
	my ($query) = @_;
	my @characters = split //, $query;
	my $at = below(scalar @characters);
	for my $i (0 .. $#characters) {
		my $j = ($at + $i) % @characters;
		if (defined $TYPOS{$characters[$j]}) {
			$characters[$j] = $TYPOS{$characters[$j]};
			return join '', @characters;
		}
	}
	# Latin: two letters change places
	if (@characters > 3) {
		$at = 1 + below(@characters - 2);
		@characters[$at - 1, $at] = @characters[$at, $at - 1];
	}
	return join '', @characters;
}

# The kinds of combinations that are held out, and how many of each
my @HELD_OUT = (
	['category season' => 14], ['category colour' => 18], ['category material' => 10],
	['category season colour' => 20], ['category season gender' => 20], ['category colour gender' => 18],
	['category material gender' => 10]);
# a combination must have this many products, so that ten can be found
my $ENOUGH = 12;

sub make_held_out {
	my ($products) = @_;
	my @held_out = ({category => '连衣裙', season => '夏季'});
	for my $kind (@HELD_OUT) {
		my @attributes = split / /, $kind->[0];
		my %count;
		for my $product (@$products) {
			next if grep { $product->{$_} eq '' } @attributes;
			$count{join ';', map { "$_=$product->{$_}" } @attributes}++;
		}
		my @candidates = shuffle(grep { $count{$_} >= $ENOUGH } sort keys %count);
		my $left = $kind->[1];
		for my $candidate (@candidates) {
			last if $left == 0;
			my $asked = {map { split /=/ } split /;/, $candidate};
			# one that includes another would test the same thing twice
			next if grep { includes($asked, $_) } @held_out;
			push @held_out, $asked;
			$left--;
		}
	}
	return @held_out;
}

sub make_pairs {
	my ($products, $held_out, $n) = @_;
	my @pairs;
	my (%by_category, %held_out_of);
	push @{$by_category{$_->{category}}}, $_ for @$products;
	push @{$held_out_of{$_->{category}}}, $_ for @$held_out;
	while (@pairs < $n) {
		my $product = pick(@$products);
		my $asked = {category => $product->{category}};
		# most queries name one or two attributes beside the kind of thing
		my $more = pick_weighted([0, 1], [1, 4], [2, 4], [3, 1]);
		for my $attribute ((shuffle(qw(season season colour colour gender material)))[0 .. $more - 1]) {
			$asked->{$attribute} = $product->{$attribute} if $product->{$attribute} ne '';
		}
		next if grep { includes($asked, $_) } @{$held_out_of{$asked->{category}}};
		my $query = pick_weighted([\&query_zh, 72], [\&query_en, 20], [\&query_mixed, 8])->($asked, 0.4);
		$query = with_typo($query) if chance(0.03);
		# a wrong click: something of the same kind, whatever its other attributes
		$product = pick(@{$by_category{$product->{category}}}) if chance(0.02);
		push @pairs, [$query, $product->{id}, combination_string($asked)];
	}
	return @pairs;
}

# Each combination in Chinese twice (plain words, then any synonyms), in English, some mixed.
sub make_queries {
	my ($held_out) = @_;
	my @queries;
	my %seen;
	my $add = sub {
		my ($lang, $query, $asked) = @_;
		return if $seen{$query}++;
		push @queries, [scalar @queries + 1, $lang, $query, map { $asked->{$_} // '' } @ATTRIBUTES];
	};
	for my $asked (@$held_out) {
		my @plain = map { $asked->{$_} } grep { defined $asked->{$_} } qw(season gender colour material category);
		$add->('zh', join('', @plain), $asked);
		$add->('zh', query_zh($asked, 0), $asked);
		$add->('en', query_en($asked), $asked);
		$add->('mixed', query_mixed($asked), $asked) if chance(0.5);
	}
	return @queries;
}

sub write_rows {
	my ($path, @rows) = @_;
	open my $file, '>:encoding(UTF-8)', $path or die "$path: $!\n";
	for my $row (@rows) {
		die "not fit for COPY: @$row\n" if grep { /[\t\n\\]/ } @$row;
		print $file join("\t", @$row), "\n" or die "$path: $!\n";
	}
	close $file or die "$path: $!\n";
}

# Write the three files; returns the held-out combinations.
sub generate {
	my ($folder, $n_products, $n_pairs, $seed) = @_;
	seed($seed // 1);
	my @products = make_products($n_products // 6000);
	my @held_out = make_held_out(\@products);
	my @queries = make_queries(\@held_out);
	my @pairs = make_pairs(\@products, \@held_out, $n_pairs // 100000);
	write_rows("$folder/products.tsv",
		map { my $p = $_; [map { $p->{$_} } qw(id title department category season colour material gender brand price)] } @products);
	write_rows("$folder/pairs.tsv", @pairs);
	write_rows("$folder/queries.tsv", @queries);
	return @held_out;
}

unless (caller) {
	my ($folder, @numbers) = @ARGV;
	die "usage: catalogue.pl FOLDER [products [pairs [seed]]]\n"
	  if !defined $folder || @numbers > 3 || grep { !/^[1-9][0-9]{0,6}$/ } @numbers;
	die "$folder is not a folder\n" unless -d $folder;
	generate($folder, @numbers);
}

1;
