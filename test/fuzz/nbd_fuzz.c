/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NBD server: the input is what a client sends. Its first byte says how:
 * bit 0 a read-only export, bit 1 the handshake was made by the book and the
 * rest are requests, whose answers are counted; bit 2 in pieces of 7 bytes;
 * bit 3 with extended headers.
 * When the client has said all it closes its side, and the connection ends.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/co.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "export/nbd/nbd_server.h"
#include "export/nbd/nbd_wire.h"
#include "fuzz.h"
#include "image/image.h"
#include "store/store.h"

#define SIZE (1u << 20) /* bytes of the disk */
#define TURNS_MAX 20000
#define READ_ONLY 1u
#define BY_THE_BOOK 2u
#define IN_PIECES 4u
#define EXTENDED 8u

static struct pl_loop *loop;
static struct pl_engine *engine;
static struct pl_nbd *servers[2]; /* writable, read-only */

static void on_note(void *arg, const char *text)
{
	(void)arg, (void)text;
}

static bool context_name(void *arg, unsigned i, char *ret, size_t size)
{
	(void)arg;
	snprintf(ret, size, "qemu:dirty-bitmap:%u", i);
	return i < 40;
}

static int context_status(void *arg, const char *name, uint64_t off,
			  uint64_t len, struct pl_req_status *ret)
{
	(void)arg, (void)name, (void)off;
	ret->run[ret->n].len = len;
	ret->run[ret->n++].hole = false;
	return 0;
}

static void setup(void)
{
	static const struct pl_nbd_contexts more = { context_name,
						     context_status, NULL };
	struct pl_image_params params = { .size = SIZE };
	struct pl_nbd_params p = { .listen_fd = -1,
				   .name = "disk",
				   .description = "fuzzed",
				   .contexts = &more,
				   .note = on_note };
	static struct pl_image *image;
	struct pl_chain *chain;
	static struct pl_dir *dir;
	struct pl_err err;

	if (loop)
		return;
	fuzz_require(pl_loop_new(&loop, 64, &err) == 0);
	fuzz_require(pl_dir_memory(&dir, 0) == 0);
	fuzz_require(pl_image_create(dir, &params, &err) == 0);
	fuzz_require(!pl_image_open(&image, dir, PL_IMAGE_WRITE, "t", &err));
	fuzz_require(
		!pl_image_open_chain(image, NULL, false, NULL, &chain, &err));
	fuzz_require(pl_engine_new(&engine, loop, chain, &err) == 0);
	fuzz_require(pl_nbd_share_new(&p.share, 40u << 20) == 0);
	p.loop = loop;
	p.engine = engine;
	fuzz_require(pl_nbd_new(&servers[0], &p, &err) == 0);
	p.read_only = true;
	fuzz_require(pl_nbd_new(&servers[1], &p, &err) == 0);
}

/* ---- a handshake by the book ---- */

#define REPLIES 15 /* where the first option's number is */

static const uint8_t handshake[] =
	"\0\0\0\3" /* flags */
	"IHAVEOPT\0\0\0\10\0\0\0\0" /* structured replies */
	"IHAVEOPT\0\0\0\12\0\0\0\62" /* both kinds of contexts */
	"\0\0\0\0\0\0\0\2\0\0\0\17base:allocation"
	"\0\0\0\23qemu:dirty-bitmap:0"
	"IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0";

/* What the server says to it: greeting and nine answers' worth of bytes. */
static size_t handshake_answers(const uint8_t *out, size_t len)
{
	size_t at = 18;
	bool go = false;

	while (!go && at + 20 <= len) {
		fuzz_require(nbd_get64(out + at) == NBD_REP_MAGIC);
		go = nbd_get32(out + at + 8) == NBD_OPT_GO &&
		     nbd_get32(out + at + 12) == NBD_REP_ACK;
		at += 20 + nbd_get32(out + at + 16);
	}
	fuzz_require(go && at <= len);
	return at;
}

/* ---- what has to come: an answer for each request ---- */

static uint64_t payload_of(const uint8_t *at, bool extended)
{
	bool write = nbd_get16(at + 6) == NBD_CMD_WRITE;

	if (extended)
		return write || nbd_get16(at + 4) & NBD_CMD_FLAG_PAYLOAD_LEN ?
			       nbd_get64(at + 24) :
			       0;
	return write ? nbd_get32(at + 24) : 0;
}

static unsigned expect(const uint8_t *at, size_t left, bool extended)
{
	uint32_t magic = extended ? NBD_EXTENDED_REQUEST_MAGIC :
				    NBD_REQUEST_MAGIC;
	size_t head = extended ? NBD_EXTENDED_SIZE : NBD_REQUEST_SIZE;
	unsigned n = 0;
	uint64_t data;

	while (left >= head && nbd_get32(at) == magic &&
	       nbd_get16(at + 6) != NBD_CMD_DISC) {
		data = payload_of(at, extended);
		if (data > left - head)
			break;
		at += head + data;
		left -= head + data;
		n++;
	}
	return n;
}

static void check_chunk(unsigned type, uint64_t len)
{
	fuzz_require(type != NBD_REPLY_TYPE_NONE || len == 0);
	fuzz_require(type != NBD_REPLY_TYPE_BLOCK_STATUS ||
		     (len >= 12 && len % 8 == 4));
	fuzz_require(type != NBD_REPLY_TYPE_BLOCK_STATUS_EXT ||
		     (len >= 24 && len % 16 == 8));
}

static unsigned count(const uint8_t *at, size_t left, bool extended)
{
	uint32_t magic = extended ? NBD_EXTENDED_REPLY_MAGIC :
				    NBD_STRUCTURED_REPLY_MAGIC;
	size_t head = extended ? 32 : 20;
	unsigned n = 0;
	uint64_t len;

	while (left > 0) {
		fuzz_require(left >= head);
		fuzz_require(nbd_get32(at) == magic);
		len = extended ? nbd_get64(at + 24) : nbd_get32(at + 16);
		fuzz_require(left - head >= len);
		check_chunk(nbd_get16(at + 6), len);
		n += nbd_get16(at + 4) == NBD_REPLY_FLAG_DONE;
		at += head + len;
		left -= head + len;
	}
	return n;
}

/* ---- the client ---- */

static uint8_t *out;
static size_t out_len, out_size;

/* True at the end of the connection. */
static bool receive(int fd)
{
	ssize_t n;

	do {
		if (out_size - out_len < 65536) {
			out_size += 1u << 20;
			out = realloc(out, out_size);
			fuzz_require(out);
		}
		n = recv(fd, out + out_len, out_size - out_len, MSG_DONTWAIT);
		if (n > 0)
			out_len += (size_t)n;
	} while (n > 0);
	return n == 0 || errno != EAGAIN;
}

static size_t say(int fd, const uint8_t *data, size_t size, size_t piece)
{
	ssize_t n = size ? send(fd, data, size < piece ? size : piece,
				MSG_DONTWAIT | MSG_NOSIGNAL) :
			   0;

	/* The server may have ended the connection: then nothing is left. */
	return n < 0 ? (errno == EAGAIN ? 0 : size) : (size_t)n;
}

static void talk(int fd, const uint8_t *data, size_t size, size_t piece)
{
	bool said = false, over = false;
	size_t n;

	for (int i = 0; i < TURNS_MAX && !over; i++) {
		n = say(fd, data, size, piece);
		data += n;
		size -= n;
		if (!size && !said)
			said = shutdown(fd, SHUT_WR) == 0 || errno;
		pl_loop_turn(loop, false);
		over = receive(fd);
	}
	fuzz_require(over);
}

/* The same disk for every input. */
static void clear(struct pl_req *req, int res)
{
	(void)req;
	fuzz_require(res == 0);
}

static void clear_disk(void)
{
	static struct pl_req req;

	req = (struct pl_req){ .op = PL_REQ_WRITE_ZEROES,
			       .len = SIZE,
			       .done = clear };
	pl_engine_submit(engine, &req);
	pl_loop_turn(loop, false);
}

static void shake_hands(int fd, bool extended)
{
	uint8_t said[sizeof(handshake)];

	memcpy(said, handshake, sizeof(said));
	if (extended)
		said[REPLIES] = NBD_OPT_EXTENDED_HEADERS;
	fuzz_require(send(fd, said, sizeof(said), 0) == sizeof(said));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned how = size ? data[0] : 0;
	struct pl_nbd *nbd;
	unsigned answers;
	int pair[2];

	setup();
	clear_disk();
	data += size > 0;
	size -= size > 0;
	nbd = servers[how & READ_ONLY];
	fuzz_require(
		!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	fuzz_require(pl_nbd_serve(nbd, pair[1]) == 0);
	out_len = 0;
	if (how & BY_THE_BOOK)
		shake_hands(pair[0], how & EXTENDED);
	talk(pair[0], data, size, how & IN_PIECES ? 7 : 65536);
	if (how & BY_THE_BOOK) {
		size_t at = handshake_answers(out, out_len);

		answers = count(out + at, out_len - at, how & EXTENDED);
		fuzz_require(answers == expect(data, size, how & EXTENDED));
	}
	close(pair[0]);
	for (int i = 0; i < TURNS_MAX && pl_nbd_clients(nbd); i++)
		pl_loop_turn(loop, false);
	fuzz_require(pl_nbd_clients(nbd) == 0);
	return 0;
}
