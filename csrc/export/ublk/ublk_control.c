/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control commands of ublk: see ublk_control.h. They travel in io_uring entries
 * of 128 bytes, which nothing else of ours needs: so, on a ring of their own.
 */
#include "export/ublk/ublk_control.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SQE128 128
#define BUF_MAX 256

struct pl_ublk_ctl {
	struct io_uring ring;
	int fd;
	bool hung; /* a command that was given up may still use buf */
	uint8_t buf[BUF_MAX];
};

int pl_ublk_ctl_new(struct pl_ublk_ctl **ret, int fd, struct pl_err *err)
{
	struct pl_ublk_ctl *ctl = calloc(1, sizeof(*ctl));
	int rc;

	if (!ctl)
		return pl_err_sys(err, -ENOMEM, "ublk");
	rc = io_uring_queue_init(2, &ctl->ring, IORING_SETUP_SQE128);
	if (rc < 0) {
		free(ctl);
		return pl_err_sys(err, rc,
				  "io_uring has no large entries (Linux 5.19)");
	}
	io_uring_ring_dontfork(&ctl->ring);
	ctl->fd = fd;
	*ret = ctl;
	return 0;
}

void pl_ublk_ctl_free(struct pl_ublk_ctl *ctl)
{
	if (!ctl)
		return;
	io_uring_queue_exit(&ctl->ring);
	if (!ctl->hung)
		free(ctl);
}

static void prepare(struct pl_ublk_ctl *ctl, const struct pl_ublk_call *call)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ctl->ring);
	struct pl_ublk_ctl_cmd cmd = {
		.dev_id = call->dev_id,
		.queue_id = UINT16_MAX,
		.len = call->len,
		.data = call->data,
	};

	assert(sqe && call->len <= BUF_MAX);
	if (call->buf) {
		memcpy(ctl->buf, call->buf, call->len);
		cmd.addr = (uintptr_t)ctl->buf;
	}
	memset((void *)sqe, 0, SQE128);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ctl->fd;
	sqe->cmd_op = call->op;
	memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), &cmd,
	       sizeof(cmd));
}

/* The answer, within the time. */
static int wait_answer(struct pl_ublk_ctl *ctl, unsigned timeout_ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long long)(timeout_ms % 1000) * 1000000,
	};
	struct io_uring_cqe *cqe;
	int rc;

	do
		rc = io_uring_wait_cqe_timeout(&ctl->ring, &cqe, &ts);
	while (rc == -EINTR || rc == -EAGAIN);
	if (rc < 0) {
		ctl->hung = true;
		return rc == -ETIME ? -ETIMEDOUT : rc;
	}
	rc = cqe->res;
	io_uring_cqe_seen(&ctl->ring, cqe);
	return rc;
}

int pl_ublk_ctl_call(struct pl_ublk_ctl *ctl, const struct pl_ublk_call *call)
{
	int rc;

	if (ctl->hung)
		return -ETIMEDOUT;
	prepare(ctl, call);
	do
		rc = io_uring_submit(&ctl->ring);
	while (rc == -EINTR || rc == -EAGAIN);
	if (rc >= 0)
		rc = wait_answer(ctl, call->timeout_ms);
	if (rc >= 0 && call->buf)
		memcpy(call->buf, ctl->buf, call->len);
	return rc < 0 ? rc : 0;
}

const char *pl_ublk_ctl_name(uint32_t op)
{
	switch (op) {
	case PL_UBLK_GET_DEV_INFO:
		return "GET_DEV_INFO";
	case PL_UBLK_ADD_DEV:
		return "ADD_DEV";
	case PL_UBLK_DEL_DEV:
		return "DEL_DEV";
	case PL_UBLK_START_DEV:
		return "START_DEV";
	case PL_UBLK_STOP_DEV:
		return "STOP_DEV";
	case PL_UBLK_SET_PARAMS:
		return "SET_PARAMS";
	case PL_UBLK_START_USER_RECOVERY:
		return "START_USER_RECOVERY";
	case PL_UBLK_END_USER_RECOVERY:
		return "END_USER_RECOVERY";
	case PL_UBLK_GET_FEATURES:
		return "GET_FEATURES";
	case PL_UBLK_UPDATE_SIZE:
		return "UPDATE_SIZE";
	case PL_UBLK_TRY_STOP_DEV:
		return "TRY_STOP_DEV";
	default:
		return "?";
	}
}
