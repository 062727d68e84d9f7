/*
 * training_save.c
 *		Checkpoints.
 *
 * Values and optimizer's arrays lie behind each other in the block; a checkpoint is
 * a header, the list of parameters, these bytes, and a checksum over all of it.
 */
#include <string.h>

#include "nn/training_private.h"

#define PIECE ((size_t) 1 << 20)

typedef struct CheckpointHeader
{
	char identity[32]; /* of the block */
	uint64_t steps;
	uint64_t parameters;
	uint64_t states;
	uint64_t bytes;
	uint64_t layout; /* of names and shapes */
	uint64_t optimizer;
} CheckpointHeader;

/* A sum that tells damage and other contents; not a cryptographic one */
static uint64_t
checksum(uint64_t sum, const void *bytes, size_t size)
{
	const char *p = bytes;

	for (; size >= 8; p += 8, size -= 8)
	{
		uint64_t word;

		memcpy(&word, p, 8);
		sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 32;
	}
	for (; size > 0; p++, size--)
		sum = (sum ^ (unsigned char) *p) * UINT64_C(0x9e3779b97f4a7c15);
	return sum;
}

static CheckpointHeader
describe(const DsTrainer *trainer)
{
	const BlockHeader *head = trainer->head;
	CheckpointHeader header = {.steps = head->steps,
							   .parameters = head->parameters,
							   .states = head->states,
							   .bytes = head->persistent,
							   .optimizer = (uint64_t) head->config.optimizer.kind};

	memcpy(header.identity, head->identity, sizeof(header.identity));
	for (uint64_t i = 0; i < head->parameters; i++)
	{
		const BlockParameter *p = &trainer->parameter[i];

		header.layout = checksum(header.layout, p->name, strlen(p->name));
		header.layout = checksum(header.layout, p->shape, sizeof(p->shape));
		header.layout = checksum(header.layout, &p->frozen, sizeof(p->frozen));
	}
	return header;
}

DsCode
ds_trainer_save(const DsTrainer *trainer, const DsBlobWriter *writer, const DsCancel *cancel,
				DsStatus *status)
{
	const BlockHeader *head = trainer->head;
	CheckpointHeader header = describe(trainer);
	uint64_t sum = checksum(0, &header, sizeof(header));
	DsCode code = writer->write(writer->context, &header, sizeof(header), status);

	for (uint64_t at = 0; at < head->persistent && code == DS_OK; at += PIECE)
	{
		size_t n = head->persistent - at < PIECE ? head->persistent - at : PIECE;
		const char *bytes = trainer->block + head->values + at;

		if (ds_cancelled(cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		sum = checksum(sum, bytes, n);
		code = writer->write(writer->context, bytes, n, status);
	}
	if (code == DS_OK)
		code = writer->write(writer->context, &sum, sizeof(sum), status);
	return code;
}

DsCode
ds_trainer_restore(DsTrainer *trainer, const DsCheckpointReader *reader, const DsCancel *cancel,
				   DsStatus *status)
{
	BlockHeader *head = trainer->head;
	CheckpointHeader here = describe(trainer);
	CheckpointHeader header;
	uint64_t sum;
	uint64_t written;
	DsCode code = reader->read(reader->context, &header, sizeof(header), status);

	if (code != DS_OK)
		return code;
	if (memcmp(header.identity, here.identity, sizeof(here.identity)) != 0)
		return ds_fail(status, DS_BAD_DATA, "the checkpoint is none, or of another version");
	if (header.parameters != here.parameters || header.states != here.states ||
		header.bytes != here.bytes || header.layout != here.layout ||
		header.optimizer != here.optimizer)
		return ds_fail(status, DS_INVALID,
					   "the checkpoint is of another model or another optimizer");
	sum = checksum(0, &header, sizeof(header));
	for (uint64_t at = 0; at < head->persistent; at += PIECE)
	{
		size_t n = head->persistent - at < PIECE ? head->persistent - at : PIECE;
		char *bytes = trainer->block + head->values + at;

		if (ds_cancelled(cancel))
			return ds_fail(status, DS_CANCELLED, "cancelled");
		code = reader->read(reader->context, bytes, n, status);
		if (code != DS_OK)
			return code;
		sum = checksum(sum, bytes, n);
	}
	code = reader->read(reader->context, &written, sizeof(written), status);
	if (code != DS_OK)
		return code;
	if (written != sum)
		return ds_fail(status, DS_BAD_DATA, "the checkpoint is damaged");
	head->steps = trainer->steps = header.steps;
	head->changed++;
	return DS_OK;
}
