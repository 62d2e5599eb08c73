/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own client on a connection that it was given by netlink. What is
 * different from other clients: it is trusted with time, and the connection
 * may change servers, which needs to happen between two requests. So the wait
 * for the next request can be called off, and that loses no byte: a cancelled
 * receive has taken nothing, or it was too late to cancel it.
 */
#include <errno.h>
#include <liburing.h>

#include "export/nbd/nbd_int.h"

struct receiving {
	struct pl_ev ev;
	struct pl_co *co;
	int res;
	bool done;
};

static void on_received(struct pl_ev *ev, int res, bool more)
{
	struct receiving *r = (struct receiving *)ev;

	(void)more;
	r->res = res;
	r->done = true;
	pl_co_wake(r->co);
}

static int receive(struct nbd_conn *c)
{
	struct receiving r = { .ev.fn = on_received, .co = pl_co_self() };

	io_uring_prep_recv(pl_loop_sqe(c->nbd->p.loop, &r.ev), c->fd, c->rx,
			   NBD_RX, 0);
	c->receiving = &r.ev;
	while (!r.done)
		pl_co_yield();
	c->receiving = NULL;
	return r.res;
}

int nbd_kernel_next(struct nbd_conn *c)
{
	int n;

	if (!c->nbd->p.kernel)
		return 0;
	while (c->rx_len == 0) {
		if (c->nbd->leaving) {
			c->end = PL_NBD_LEFT;
			return -ESHUTDOWN;
		}
		n = receive(c);
		if (n == -EINTR || n == -EAGAIN || n == -ECANCELED)
			continue;
		if (n <= 0)
			return n < 0 ? n : -ECONNRESET;
		c->rx_at = 0;
		c->rx_len = (size_t)n;
	}
	return 0;
}

void pl_nbd_leave(struct pl_nbd *nbd)
{
	nbd->leaving = true;
	for (struct nbd_conn *c = nbd->conns; c; c = c->next)
		if (c->receiving)
			io_uring_prep_cancel(pl_loop_sqe(nbd->p.loop, NULL),
					     c->receiving, 0);
}
