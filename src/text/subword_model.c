/*
 * subword_model.c
 *		WordPiece, WordLevel and Unigram: from one part of a text to tokens.
 *
 *   WordPiece takes the longest piece of the vocabulary that the rest of the
 *	 word begins with, again and again; a word that cannot be covered is one
 *	 unknown token.
 *   Unigram finds the cover of the part with the highest sum of scores
 *	 (Viterbi); a character that no piece covers costs the lowest score - 10, and
 *	 unknown characters that follow each other are one token.
 *
 * Both walk the trie of the vocabulary from each place, so a text takes time
 * in proportion to its length and that of the longest token.
 */
#include "text/subword_private.h"

#include <string.h>

#include "text/utf8.h"

/* what an unknown character costs more than the worst piece (sentencepiece's kUnkPenalty) */
#define UNKNOWN_PENALTY 10.0
#define CANCEL_EVERY 4096

static DsCode
no_memory(DsStatus *status)
{
	return ds_fail(status, DS_OUT_OF_MEMORY, "out of memory for a text");
}

static uint64_t
walk_character(const DsTrie *trie, uint64_t node, uint32_t c)
{
	char bytes[4];

	return ds_trie_walk(trie, node, bytes, ds_utf8_write(c, bytes));
}

/* The bytes of a character as tokens <0xNN>; false when the model has none */
static bool
add_bytes(const DsSubword *t, const Characters *text, uint32_t at, Tokens *tokens, bool *failed)
{
	const unsigned char *ids = blob_section(t, SECTION_BYTES);
	char bytes[4];
	size_t n = ds_utf8_write(text->c[at], bytes);

	if (blob_length(t, SECTION_BYTES) == 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (ds_read_u32(ids + (size_t) (unsigned char) bytes[i] * 4) == DS_SUBWORD_NONE)
			return false;
	for (size_t i = 0; i < n; i++)
		if (!tokens_add(tokens, ds_read_u32(ids + (size_t) (unsigned char) bytes[i] * 4),
						text->begin[at], text->end[at]))
			*failed = true;
	return true;
}

static DsCode
add_unknown(const DsSubword *t, const Characters *text, uint32_t first, uint32_t last,
			Tokens *tokens, DsStatus *status)
{
	uint32_t unknown = blob_word(t, AT_UNKNOWN);

	if (unknown == DS_SUBWORD_NONE)
		return ds_fail(status, DS_INVALID,
					   "the tokenizer has no token for unknown text, and the text needs it");
	if (!tokens_add(tokens, unknown, text->begin[first], text->end[last - 1]))
		return no_memory(status);
	return DS_OK;
}

static DsCode
wordpiece(const DsSubword *t, const Characters *text, uint32_t first, uint32_t last, Tokens *tokens,
		  DsStatus *status)
{
	DsTrie trie = blob_trie(t, SECTION_TRIE);
	size_t before = tokens->n;

	if (last - first > blob_word(t, AT_WORD_MAX))
		return add_unknown(t, text, first, last, tokens, status);
	for (uint32_t at = first; at < last;)
	{
		uint64_t node = at == first ? ds_trie_root(&trie) : t->prefix_node;
		uint32_t id = DS_SUBWORD_NONE;
		uint32_t end = at;

		for (uint32_t i = at; i < last; i++)
		{
			node = walk_character(&trie, node, text->c[i]);
			if (node == 0)
				break;
			if (DS_TRIE_VALUE(node) != 0)
			{
				id = DS_TRIE_VALUE(node) - 1;
				end = i + 1;
			}
		}
		if (id == DS_SUBWORD_NONE)
		{
			tokens->n = before;
			return add_unknown(t, text, first, last, tokens, status);
		}
		if (!tokens_add(tokens, id, text->begin[at], text->end[end - 1]))
			return no_memory(status);
		at = end;
	}
	return DS_OK;
}

static DsCode
wordlevel(const DsSubword *t, const Characters *text, uint32_t first, uint32_t last, Tokens *tokens,
		  DsStatus *status)
{
	DsTrie trie = blob_trie(t, SECTION_TRIE);
	uint64_t node = ds_trie_root(&trie);

	for (uint32_t i = first; i < last && node != 0; i++)
		node = walk_character(&trie, node, text->c[i]);
	if (node == 0 || DS_TRIE_VALUE(node) == 0)
		return add_unknown(t, text, first, last, tokens, status);
	if (!tokens_add(tokens, DS_TRIE_VALUE(node) - 1, text->begin[first], text->end[last - 1]))
		return no_memory(status);
	return DS_OK;
}

static inline double
score_of(const unsigned char *scores, uint32_t id)
{
	uint64_t bits = ds_read_u64(scores + (size_t) id * 8);
	double score;

	memcpy(&score, &bits, sizeof(score));
	return score;
}

/* offer place a path; of equally good ones the first stays, as in the library */
static inline void
offer(Lattice *place, double score, uint32_t from, uint32_t id)
{
	if (place->from == DS_SUBWORD_NONE || score > place->score)
	{
		place->score = score;
		place->from = from;
		place->id = id;
	}
}

static DsCode
unigram(const DsSubword *t, DsSubwordScratch *scratch, uint32_t first, uint32_t last,
		Tokens *tokens, DsStatus *status)
{
	const Characters *text = &scratch->all;
	DsTrie trie = blob_trie(t, SECTION_TRIE);
	uint64_t root = ds_trie_root(&trie);
	const unsigned char *scores = blob_section(t, SECTION_SCORES);
	uint32_t unknown = blob_word(t, AT_UNKNOWN);
	/* the lowest score stands behind the last id's */
	double penalty = score_of(scores, t->vocabulary) - UNKNOWN_PENALTY;
	size_t n = last - first;
	size_t before = tokens->n;
	Lattice *lattice;

	if (!subword_grow(scratch->arena, (void **) &scratch->lattice, &scratch->lattice_capacity,
					  n + 1, sizeof(Lattice), 0))
		return no_memory(status);
	lattice = scratch->lattice;
	for (size_t i = 0; i <= n; i++)
		lattice[i].from = DS_SUBWORD_NONE;
	lattice[0].score = 0;
	for (size_t at = 0; at < n; at++)
	{
		double score = lattice[at].score;
		uint64_t node = root;
		bool single = false;

		if (at % CANCEL_EVERY == CANCEL_EVERY - 1 && ds_cancelled(scratch->cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		for (size_t i = at; i < n; i++)
		{
			node = walk_character(&trie, node, text->c[first + i]);
			if (node == 0)
				break;
			if (DS_TRIE_VALUE(node) == 0)
				continue;
			offer(&lattice[i + 1], score_of(scores, DS_TRIE_VALUE(node) - 1) + score, (uint32_t) at,
				  DS_TRIE_VALUE(node) - 1);
			single |= i == at;
		}
		if (!single)
		{
			if (unknown == DS_SUBWORD_NONE)
				return add_unknown(t, text, first, last, tokens, status);
			offer(&lattice[at + 1], penalty + score, (uint32_t) at, unknown);
		}
	}
	/* backwards: the tokens in reverse */
	for (size_t end = n; end > 0;)
	{
		size_t from = lattice[end].from;
		size_t behind = end;

		/* unknown characters that follow each other */
		if (lattice[end].id == unknown)
			while (from > 0 && lattice[from].id == unknown)
				from = lattice[from].from;
		end = from;
		if (!tokens_add(tokens, lattice[behind].id, (uint32_t) from, (uint32_t) behind))
			return no_memory(status);
	}
	for (size_t i = before, j = tokens->n; i + 1 < j; i++)
	{
		Token token = tokens->t[--j];

		tokens->t[j] = tokens->t[i];
		tokens->t[i] = token;
	}
	/* from places in the part to places in the text; bytes for what is unknown */
	n = tokens->n;
	if (blob_length(t, SECTION_BYTES) > 0)
	{
		size_t kept = n;
		bool failed = false;

		for (size_t i = before; i < n; i++)
		{
			Token token = tokens->t[i];
			size_t mark = tokens->n;
			bool all = token.id == unknown;

			for (uint32_t c = token.begin; c < token.end && all; c++)
				all = add_bytes(t, text, first + c, tokens, &failed);
			if (!all)
			{
				tokens->n = mark;
				failed |= !tokens_add(tokens, token.id, text->begin[first + token.begin],
									  text->end[first + token.end - 1]);
			}
			if (failed)
				return no_memory(status);
		}
		memmove(tokens->t + before, tokens->t + kept, (tokens->n - kept) * sizeof(Token));
		tokens->n -= kept - before;
		return DS_OK;
	}
	for (size_t i = before; i < n; i++)
	{
		Token *token = &tokens->t[i];

		token->end = text->end[first + token->end - 1];
		token->begin = text->begin[first + token->begin];
	}
	return DS_OK;
}

DsCode
subword_model(const DsSubword *t, DsSubwordScratch *scratch, uint32_t first, uint32_t last,
			  Tokens *tokens, DsStatus *status)
{
	if (first == last)
		return DS_OK;
	switch ((Model) blob_word(t, AT_MODEL))
	{
		case MODEL_WORDPIECE:
			return wordpiece(t, &scratch->all, first, last, tokens, status);
		case MODEL_WORDLEVEL:
			return wordlevel(t, &scratch->all, first, last, tokens, status);
		case MODEL_UNIGRAM:
			return unigram(t, scratch, first, last, tokens, status);
		case MODEL_BPE:
			return subword_bpe(t, scratch, first, last, tokens, status);
	}
	return ds_fail(status, DS_BAD_DATA, "tokenizer is damaged: its model");
}
