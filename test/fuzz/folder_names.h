/*
 * folder_names.h
 *		What the files of a fuzzed folder are called; an input has their numbers.
 */
#ifndef DS_FOLDER_NAMES_H
#define DS_FOLDER_NAMES_H

static const char *const names[] = {"config.json",
									"model.safetensors",
									"tokenizer.json",
									"modules.json",
									"1_Pooling/config.json",
									"2_Dense/config.json",
									"2_Dense/model.safetensors",
									"sentence_bert_config.json",
									"config_sentence_transformers.json",
									"model.safetensors.index.json",
									"bert_config.json",
									"m.index",
									"m.data-00000-of-00001",
									"vocab.txt",
									"open_clip_config.json",
									"tokenizer_config.json",
									"preprocessor_config.json",
									"open_clip_model.safetensors",
									"mine.safetensors"};

#define NAMES (sizeof(names) / sizeof(names[0]))

#endif /* DS_FOLDER_NAMES_H */
