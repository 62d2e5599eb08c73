/* SPDX-License-Identifier: Apache-2.0 */
/* The NBD handshake: options, their answers, and what ends a connection. */
#include "nbd_client.h"

static uint8_t data[70000];

static uint32_t meta(const char *name, const char *query)
{
	uint8_t *p = nbd_put32(data, (uint32_t)strlen(name));

	p = (uint8_t *)stpcpy((char *)p, name);
	p = nbd_put32(p, query ? 1 : 0);
	if (query) {
		p = nbd_put32(p, (uint32_t)strlen(query));
		p = (uint8_t *)stpcpy((char *)p, query);
	}
	return (uint32_t)(p - data);
}

static uint32_t info(const char *name, unsigned n, const uint16_t *infos)
{
	uint8_t *p = nbd_put32(data, (uint32_t)strlen(name));

	p = (uint8_t *)stpcpy((char *)p, name);
	p = nbd_put16(p, n);
	for (unsigned i = 0; i < n; i++)
		p = nbd_put16(p, infos[i]);
	return (uint32_t)(p - data);
}

pl_test("lists its export, under its name and description")
{
	nbd_start(nbd_params);
	greet(3);
	is_int(ask_option(NBD_OPT_LIST, NULL, 0), NBD_REP_SERVER);
	is_int(opt_len, 4 + 4 + 6);
	ok(nbd_get32(opt_data) == 4 && !memcmp(opt_data + 4, "diska test", 10));
	is_int(opt_answer(NBD_OPT_LIST), NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_LIST, "x", 1), NBD_REP_ERR_INVALID);
	nbd_end();
}

pl_test("tells size, flags, name, description and block sizes, each once")
{
	static const uint16_t all[] = { 3, 1, 2, 0, 3, 77 };

	nbd_start(nbd_params);
	greet(3);
	is_int(ask_option(NBD_OPT_INFO, data, info("disk", 6, all)),
	       NBD_REP_INFO);
	is_int(nbd_get16(opt_data), NBD_INFO_EXPORT);
	ok(nbd_get64(opt_data + 2) == DISK);
	is_int(nbd_get16(opt_data + 10),
	       NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA |
		       NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
		       NBD_FLAG_SEND_FAST_ZERO | NBD_FLAG_SEND_CACHE |
		       NBD_FLAG_CAN_MULTI_CONN);
	is_int(opt_answer(NBD_OPT_INFO), NBD_REP_INFO);
	is_int(nbd_get16(opt_data), NBD_INFO_BLOCK_SIZE);
	is_int(nbd_get32(opt_data + 2), 512);
	is_int(nbd_get32(opt_data + 6), 4096);
	is_int(nbd_get32(opt_data + 10), 32 << 20);
	is_int(opt_answer(NBD_OPT_INFO), NBD_REP_INFO);
	is_int(nbd_get16(opt_data), NBD_INFO_NAME);
	is_int(opt_answer(NBD_OPT_INFO), NBD_REP_INFO);
	is_int(nbd_get16(opt_data), NBD_INFO_DESCRIPTION);
	is_int(opt_answer(NBD_OPT_INFO), NBD_REP_ACK);
	nbd_end();
}

pl_test("refuses unknown names, unknown options and lengths that do not fit")
{
	nbd_start(nbd_params);
	greet(3);
	is_int(ask_option(NBD_OPT_GO, data, info("other", 0, NULL)),
	       NBD_REP_ERR_UNKNOWN);
	is_int(ask_option(99, "abc", 3), NBD_REP_ERR_UNSUP);
	is_int(ask_option(NBD_OPT_GO, "\0\0\0\0\0", 5), NBD_REP_ERR_INVALID);
	is_int(ask_option(NBD_OPT_GO, "\377\377\377\377\0\0", 6),
	       NBD_REP_ERR_INVALID);
	is_int(ask_option(NBD_OPT_GO, "\0\0\0\0\0\2\0\0", 8),
	       NBD_REP_ERR_INVALID);
	is_int(ask_option(NBD_OPT_INFO, data, sizeof(data)),
	       NBD_REP_ERR_TOO_BIG);
	is_int(ask_option(NBD_OPT_STARTTLS, NULL, 0), NBD_REP_ERR_POLICY);
	is_int(ask_option(NBD_OPT_GO, data, info("", 0, NULL)), NBD_REP_INFO);
	is_int(opt_answer(NBD_OPT_GO), NBD_REP_ACK);
	nbd_end();
}

pl_test("offers base:allocation when structured replies were agreed on")
{
	nbd_start(nbd_params);
	greet(3);
	is_int(ask_option(NBD_OPT_LIST_META_CONTEXT, data, meta("disk", NULL)),
	       NBD_REP_ERR_INVALID);
	is_int(ask_option(NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_LIST_META_CONTEXT, data, meta("disk", NULL)),
	       NBD_REP_META_CONTEXT);
	ok(opt_len == 19 && !memcmp(opt_data + 4, "base:allocation", 15));
	is_int(opt_answer(NBD_OPT_LIST_META_CONTEXT), NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_LIST_META_CONTEXT, data,
			  meta("disk", "base:")),
	       NBD_REP_META_CONTEXT);
	is_int(opt_answer(NBD_OPT_LIST_META_CONTEXT), NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_SET_META_CONTEXT, data,
			  meta("disk", "base:")),
	       NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_SET_META_CONTEXT, data, meta("disk", "x:y")),
	       NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_SET_META_CONTEXT, data,
			  meta("other", "base:allocation")),
	       NBD_REP_ERR_UNKNOWN);
	is_int(ask_option(NBD_OPT_SET_META_CONTEXT, data,
			  meta("", "base:allocation")),
	       NBD_REP_META_CONTEXT);
	is_int(nbd_get32(opt_data), 1);
	is_int(opt_answer(NBD_OPT_SET_META_CONTEXT), NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_SET_META_CONTEXT, data,
			  meta("disk", NULL) - 1),
	       NBD_REP_ERR_INVALID);
	nbd_end();
}

pl_test("answers EXPORT_NAME with zeroes or without, and nothing to another")
{
	uint8_t reply[134];

	nbd_start(nbd_params);
	greet(NBD_FLAG_FIXED_NEWSTYLE);
	option(NBD_OPT_EXPORT_NAME, "disk", 4);
	ok(hear(reply, 134) && nbd_get64(reply) == DISK);
	ok(reads_as(0, 512, 0));
	nbd_end();
	nbd_start(nbd_params);
	greet(3);
	option(NBD_OPT_EXPORT_NAME, "", 0);
	ok(hear(reply, 10) && nbd_get64(reply) == DISK);
	ok(reads_as(0, 512, 0));
	nbd_end();
	nbd_start(nbd_params);
	greet(3);
	option(NBD_OPT_EXPORT_NAME, "other", 5);
	ok(ended());
	nbd_end();
}

pl_test("ends at ABORT, unknown flags, a wrong magic and endless options")
{
	nbd_start(nbd_params);
	greet(3);
	is_int(ask_option(NBD_OPT_ABORT, NULL, 0), NBD_REP_ACK);
	ok(ended());
	nbd_end();
	nbd_start(nbd_params);
	greet(4);
	ok(ended());
	nbd_end();
	nbd_start(nbd_params);
	greet(3);
	say("IHAVEOPX\0\0\0\3\0\0\0\0", 16);
	ok(ended());
	nbd_end();
	nbd_start(nbd_params);
	greet(3);
	say("IHAVEOPT\0\0\0\3\377\0\0\0", 16);
	ok(ended());
	nbd_end();
	nbd_start(nbd_params);
	greet(3);
	for (int i = 0; i < 64; i++)
		is_int(ask_option(99, NULL, 0), NBD_REP_ERR_UNSUP);
	ok(ended());
	nbd_end();
}

/* ---- more contexts than one client may have ---- */

static bool many_names(void *arg, unsigned i, char *ret, size_t size)
{
	(void)arg;
	snprintf(ret, size, "qemu:dirty-bitmap:%u", i);
	return i < 40;
}

static struct pl_nbd_params many_contexts(void)
{
	static const struct pl_nbd_contexts more = { .name = many_names };
	struct pl_nbd_params p = nbd_params();

	p.contexts = &more;
	return p;
}

pl_test("refuses to choose more metadata contexts than it keeps")
{
	uint8_t *p = nbd_put32(data, 0);
	uint32_t type;

	nbd_start(many_contexts);
	greet(3);
	is_int(ask_option(NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	p = nbd_put32(p, 33);
	for (unsigned i = 0; i < 33; i++) {
		p = nbd_put32(p, i < 10 ? 19 : 20);
		p += sprintf((char *)p, "qemu:dirty-bitmap:%u", i);
	}
	option(NBD_OPT_SET_META_CONTEXT, data, (uint32_t)(p - data));
	do {
		type = opt_answer(NBD_OPT_SET_META_CONTEXT);
	} while (type == NBD_REP_META_CONTEXT);
	is_int(type, NBD_REP_ERR_TOO_BIG);
	is_int(ask_option(NBD_OPT_GO, "\0\0\0\0\0", 6), NBD_REP_INFO);
	is_int(opt_answer(NBD_OPT_GO), NBD_REP_ACK);
	/* None of them is left. */
	command(NBD_CMD_BLOCK_STATUS, 0, 1, 0, 4096);
	require(next_chunk());
	is_int(chunk.type, NBD_REPLY_TYPE_ERROR);
	nbd_end();
}

pl_test("tells options that come after the server has stopped")
{
	uint8_t hello[18], answer[4];

	nbd_start(nbd_params);
	ok(hear(hello, sizeof(hello)));
	nbd_put32(answer, 3);
	ok(send(peer, answer, 4, 0) == 4);
	ok(send(peer, "IHAVEOPT\0\0\0\3\0\0\0\0", 16, 0) == 16);
	pl_nbd_stop(nbd);
	is_int(opt_answer(NBD_OPT_LIST), NBD_REP_ERR_SHUTDOWN);
	ok(ended());
	nbd_end();
}

int main(void)
{
	return pl_tap_main();
}
