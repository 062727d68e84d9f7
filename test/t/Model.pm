# Small models in the form in which trained ones are published, made up for the tests.
package Model;
use strict;
use warnings;

use Compress::Zlib ();

# A safetensors file of [name, dtype, [shape], bytes] ...
sub safetensors
{
	my ($path, @tensors) = @_;
	my ($at, @entries, $data) = (0);
	for my $tensor (@tensors)
	{
		my ($name, $dtype, $shape, $bytes) = @$tensor;
		my $end = $at + length $bytes;
		push @entries, sprintf '"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}', $name, $dtype, join(',', @$shape), $at, $end;
		$data .= $bytes;
		$at = $end;
	}
	my $header = '{' . join(',', @entries) . '}';
	spew($path, pack('Q<', length $header) . $header . $data);
	return;
}

sub spew
{
	my ($path, $bytes) = @_;
	open my $file, '>:raw', $path or die "$path: $!";
	print $file $bytes;
	close $file or die "$path: $!";
	return;
}

# numbers that look random and are the same everywhere
my $state = 1;
sub numbers
{
	my ($count, $scale) = @_;
	return map { $state = ($state * 1103515245 + 12345) % 2**31; ($state / 2**30 - 1) * $scale } 1 .. $count;
}
sub floats { return pack 'f<*', @_ }

our @WORDS = split m{ }, "[PAD] [UNK] [CLS] [SEP] red blue dress shirt shoe summer winter ##s ##es for a of and";

# tokenizer.json of WordPiece over these words
sub tokenizer
{
	my ($special) = @_;
	my %id = map { $WORDS[$_] => $_ } 0 .. $#WORDS;
	my $vocab = join ',', map { "\"$_\":$id{$_}" } @WORDS;
	my $post = $special
	  ? '{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],"pair":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}},{"Sequence":{"id":"B","type_id":1}},{"SpecialToken":{"id":"[SEP]","type_id":1}}],"special_tokens":{"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]},"[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}}'
	  : 'null';
	return '{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],'
	  . '"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},'
	  . '"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":' . $post . ',"decoder":null,'
	  . '"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{' . $vocab . '}}}';
}

# A static model: the mean of its tokens' rows, normalised.  Returns the rows.
sub static
{
	my ($folder, $dims) = @_;
	my @rows = map { [ numbers($dims, 1) ] } @WORDS;
	mkdir $folder;
	spew("$folder/config.json", "{\"model_type\": \"model2vec\", \"architectures\": [\"StaticModel\"], \"hidden_dim\": $dims, \"seq_length\": 1000000, \"normalize\": true}");
	spew("$folder/tokenizer.json", tokenizer(0));
	safetensors("$folder/model.safetensors", [ 'embeddings', 'F32', [ scalar @WORDS, $dims ], floats(map { @$_ } @rows) ]);
	return @rows;
}

# Tensors [name, shape] ... of numbers that look random: near 1 for norms' weights and variances
sub weights
{
	my ($path, @tensors) = @_;
	safetensors($path, map {
		my ($name, @shape) = @$_;
		my $count = 1;
		$count *= $_ for @shape;
		my @values = numbers($count, $name =~ /bias|mean|norm/ ? 0.1 : 2 / sqrt($count / $shape[0]));
		[ $name, 'F32', \@shape, floats($name =~ /(norm\w*\.weight|var)$/ ? map { 1 + $_ } @values : @values) ]
	} @tensors);
	return;
}

# ViT with two layers, 16 wide, pictures of 24 x 24 in patches of 8
sub vit
{
	my ($folder) = @_;
	my @tensors = ([ 'embeddings.cls_token', 1, 1, 16 ], [ 'embeddings.position_embeddings', 1, 10, 16 ], [ 'embeddings.patch_embeddings.projection.weight', 16, 3, 8, 8 ], [ 'embeddings.patch_embeddings.projection.bias', 16 ]);
	my $pair = sub { my ($name, @shape) = @_; push @tensors, [ "$name.weight", @shape ], [ "$name.bias", $shape[0] ] };
	for my $layer (0, 1)
	{
		my $at = "encoder.layer.$layer";
		$pair->("$at.$_", 16, 16) for qw(attention.attention.query attention.attention.key attention.attention.value attention.output.dense);
		$pair->("$at.$_", 16) for qw(layernorm_before layernorm_after);
		$pair->("$at.intermediate.dense", 32, 16);
		$pair->("$at.output.dense", 16, 32);
	}
	$pair->('layernorm', 16);
	mkdir $folder;
	weights("$folder/model.safetensors", @tensors);
	spew("$folder/config.json", '{"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8, "intermediate_size": 32, "image_size": 24}');
	return;
}

# ResNet of transformers: two stages of bottlenecks, 7 x 7 and pooling before them, pictures of 40 x 40
sub resnet
{
	my ($folder) = @_;
	my @tensors;
	my $conv = sub {
		my ($at, $norm, $out, $in, $kernel) = @_;
		push @tensors, [ "$at.weight", $out, $in, $kernel, $kernel ], map { [ "$norm.$_", $out ] } qw(weight bias running_mean running_var);
	};
	$conv->('resnet.embedder.embedder.convolution', 'resnet.embedder.embedder.normalization', 8, 3, 7);
	for my $stage (0, 1)
	{
		my ($at, $in, $out) = ("resnet.encoder.stages.$stage.layers.0", 8 << $stage, 16 << $stage);
		$conv->("$at.shortcut.convolution", "$at.shortcut.normalization", $out, $in, 1);
		$conv->("$at.layer.0.convolution", "$at.layer.0.normalization", $out / 4, $in, 1);
		$conv->("$at.layer.1.convolution", "$at.layer.1.normalization", $out / 4, $out / 4, 3);
		$conv->("$at.layer.2.convolution", "$at.layer.2.normalization", $out, $out / 4, 1);
	}
	mkdir $folder;
	weights("$folder/model.safetensors", @tensors);
	spew("$folder/config.json", '{"model_type": "resnet", "hidden_act": "relu", "num_channels": 3, "layer_type": "bottleneck", "downsample_in_bottleneck": true}');
	spew("$folder/preprocessor_config.json", '{"do_resize": true, "size": {"height": 40, "width": 40}, "do_center_crop": false, "do_normalize": true, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_rescale": true, "resample": 3}');
	return;
}

# CLIP: texts and pictures of 24 x 24 in patches of 8 through two layers each, 16 wide, to 8 components; with texts: that
# tower alone
sub clip
{
	my ($folder, %options) = @_;
	my @tensors;
	my $pair = sub { my ($name, @shape) = @_; push @tensors, [ "$name.weight", @shape ], [ "$name.bias", $shape[0] ] };
	my $layers = sub {
		my ($tower) = @_;
		for my $layer (0, 1)
		{
			my $at = "$tower.encoder.layers.$layer";
			$pair->("$at.self_attn.$_", 16, 16) for qw(q_proj k_proj v_proj out_proj);
			push @tensors, map { [ "$at.layer_norm$_.weight", 16 ], [ "$at.layer_norm$_.bias", 16 ] } 1, 2;
			$pair->("$at.mlp.fc1", 32, 16);
			$pair->("$at.mlp.fc2", 16, 32);
		}
	};
	push @tensors, [ 'text_model.embeddings.token_embedding.weight', scalar @WORDS, 16 ], [ 'text_model.embeddings.position_embedding.weight', 12, 16 ];
	$layers->('text_model');
	push @tensors, [ 'vision_model.embeddings.class_embedding', 16 ], [ 'vision_model.embeddings.patch_embedding.weight', 16, 3, 8, 8 ], [ 'vision_model.embeddings.position_embedding.weight', 10, 16 ];
	$layers->('vision_model');
	push @tensors, map { [ "$_.weight", 16 ], [ "$_.bias", 16 ] } qw(text_model.final_layer_norm vision_model.pre_layrnorm vision_model.post_layernorm);
	push @tensors, [ 'text_projection.weight', 8, 16 ], [ 'visual_projection.weight', 8, 16 ];
	mkdir $folder;
	@tensors = grep { $_->[0] =~ /^text_/ } @tensors if $options{texts};
	weights("$folder/model.safetensors", @tensors);
	my $sizes = '"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32';
	my $texts = "$sizes, \"vocab_size\": " . scalar(@WORDS) . ', "max_position_embeddings": 12, "eos_token_id": 3';
	spew("$folder/config.json", $options{texts} ? "{\"model_type\": \"clip_text_model\", $texts}"
		: "{\"model_type\": \"clip\", \"projection_dim\": 8, \"text_config\": {$texts}, \"vision_config\": {$sizes, \"patch_size\": 8, \"image_size\": 24}}");
	spew("$folder/preprocessor_config.json", '{"do_resize": true, "size": {"shortest_edge": 24}, "do_center_crop": true, "crop_size": {"height": 24, "width": 24}, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_rescale": true, "resample": 3}');
	spew("$folder/tokenizer.json", tokenizer(1));
	return;
}

# A PNG of shapes: stripes along or across of a colour, moved and with noise by a number
sub chunk { my ($type, $data) = @_; return pack('N', length $data) . $type . $data . pack('N', Compress::Zlib::crc32($type . $data)) }
sub png
{
	my ($edge, $colour, $rows, $n) = @_;
	my $raw = '';
	for my $y (0 .. $edge - 1)
	{
		$raw .= "\0";
		for my $x (0 .. $edge - 1)
		{
			my @rgb = ((($rows ? $y : $x) + $n) % 6) < 3 ? (240, 240, 240) : @$colour;
			$raw .= pack 'C3', map { my $v = $_ + ($x * 7 + $y * 13 + $n * 31) % 23 - 11; $v < 0 ? 0 : $v > 255 ? 255 : $v } @rgb;
		}
	}
	return "\x89PNG\r\n\x1a\n" . chunk('IHDR', pack('NNC5', $edge, $edge, 8, 2, 0, 0, 0)) . chunk('IDAT', Compress::Zlib::compress($raw)) . chunk('IEND', '');
}

# BERT with two layers, 16 wide; with classes: a head for sequence classification
sub bert
{
	my ($folder, %options) = @_;
	my ($h, $i, $positions) = (16, 32, 64);
	my $prefix = $options{classes} ? 'bert.' : '';
	my @tensors;
	my $add = sub {
		my ($name, @shape) = @_;
		my $count = 1;
		$count *= $_ for @shape;
		my @values = $name =~ /LayerNorm\.weight/ ? map { 1 + $_ } numbers($count, 0.1) : numbers($count, $name =~ /bias/ ? 0.1 : 0.4);
		push @tensors, [ $name, 'F32', \@shape, floats(@values) ];
	};
	$add->("${prefix}embeddings.word_embeddings.weight", scalar @WORDS, $h);
	$add->("${prefix}embeddings.position_embeddings.weight", $positions, $h);
	$add->("${prefix}embeddings.token_type_embeddings.weight", 2, $h);
	$add->("${prefix}embeddings.LayerNorm.$_", $h) for qw(weight bias);
	for my $layer (0, 1)
	{
		my $at = "${prefix}encoder.layer.$layer";
		for my $part (qw(attention.self.query attention.self.key attention.self.value attention.output.dense))
		{
			$add->("$at.$part.weight", $h, $h);
			$add->("$at.$part.bias", $h);
		}
		$add->("$at.attention.output.LayerNorm.$_", $h) for qw(weight bias);
		$add->("$at.intermediate.dense.weight", $i, $h);
		$add->("$at.intermediate.dense.bias", $i);
		$add->("$at.output.dense.weight", $h, $i);
		$add->("$at.output.dense.bias", $h);
		$add->("$at.output.LayerNorm.$_", $h) for qw(weight bias);
	}
	if ($options{classes})
	{
		$add->('bert.pooler.dense.weight', $h, $h);
		$add->('bert.pooler.dense.bias', $h);
		$add->('classifier.weight', $options{classes}, $h);
		$add->('classifier.bias', $options{classes});
	}
	my $labels = $options{classes} ? ', "id2label": {' . join(', ', map { "\"$_\": \"LABEL_$_\"" } 0 .. $options{classes} - 1) . '}' : '';
	my $architecture = $options{classes} ? 'BertForSequenceClassification' : 'BertModel';
	mkdir $folder;
	spew("$folder/config.json", "{\"model_type\": \"bert\", \"architectures\": [\"$architecture\"], \"hidden_size\": $h, \"num_hidden_layers\": 2, "
		. "\"num_attention_heads\": 2, \"intermediate_size\": $i, \"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-12, \"type_vocab_size\": 2, "
		. "\"max_position_embeddings\": $positions, \"pad_token_id\": 0, \"vocab_size\": " . scalar(@WORDS) . "$labels}");
	spew("$folder/tokenizer.json", tokenizer(1));
	safetensors("$folder/model.safetensors", @tensors);
	if ($options{sentence})
	{
		mkdir "$folder/1_Pooling";
		spew("$folder/modules.json", '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, '
			. '{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, '
			. '{"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]');
		spew("$folder/1_Pooling/config.json", "{\"word_embedding_dimension\": $h, \"pooling_mode_cls_token\": false, \"pooling_mode_mean_tokens\": true, "
			. '"pooling_mode_max_tokens": false, "pooling_mode_mean_sqrt_len_tokens": false}');
		spew("$folder/sentence_bert_config.json", '{"max_seq_length": 12, "do_lower_case": false}');
		spew("$folder/config_sentence_transformers.json", '{"prompts": {"query": "red ", "passage": "of "}}') if $options{prompts};
	}
	return @tensors;
}

1;
