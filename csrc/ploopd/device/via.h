/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to make a block device of what a worker serves (--via): each is one
 * struct of functions in a file via_<name>.c, named in the table of via.c, and
 * nothing else of the daemon knows which one it has to do with.
 *
 * A device has one descriptor that outlives its workers (PL_FD_DEVICE): the
 * launcher makes it, the keeper holds it, every worker and every next keeper
 * gets it. Who calls what:
 *
 *   launcher  probe, prepare --(keeper, worker: serve)--> make; discard
 *             on failure
 *   keeper    keep, once, before it gives up its privileges; then for every
 *             worker that ended without handing over cleanly: renew
 *   worker    claim, before it gives up its privileges; serve; in_use,
 *             inflight, may_grow, grown, stop (of the front)
 *   commands  find, remove (detach), show_size (resize): each is a privileged
 *             process of its own
 *
 * A worker is served its device by nobody but the kernel and its keeper: it has
 * no privileges and no file system; whatever needs them belongs to the others.
 * Members that may be NULL say so.
 *
 * A new way: a file with its struct, a line in the table (state.json keeps the
 * name), its name in VIAS of src/attach/via.ts, a row in docs/control.md.
 */
#ifndef PLOOP_PLOOPD_DEVICE_VIA_H
#define PLOOP_PLOOPD_DEVICE_VIA_H

#include "ploopd/attachment.h"

struct pl_shared;
struct pl_worker;

/* A device that is being made; in the launcher. */
struct pl_making {
	const struct pl_attachment *att;
	int device_fd; /* the one to be kept (PL_FD_DEVICE); -1 = none yet */
	int own_fd; /* what only the launcher needs; -1 = none */
	/* What serves, when it does: */
	uint64_t size; /* bytes, as block_size */
	uint32_t block_size;
	int worker; /* process id */
};

/* What a keeper knows of its device, for renew(). */
struct pl_kept {
	const struct pl_attachment *att;
	const char *device; /* "/dev/nbd3"; "" = none yet */
	struct pl_shared *shared;
	int device_fd; /* PL_FD_DEVICE */
	int admin_fd; /* of keep(); -1 = none */
};

/* What serves the device in a worker. */
struct pl_front {
	const struct pl_via *via; /* NULL: there is no device */
	void *of; /* its own */
};

struct pl_via {
	const char *name; /* "fuse": of --via and state.json */

	/* ---- any process ---- */

	/* Is it there? 0, or UNSUPPORTED and the way out. Loads no module. */
	int (*probe)(struct pl_failure *f);
	/* What a worker that dies had taken is repeated on this kernel. */
	bool (*survives)(void);

	/* ---- the launcher ---- */

	/* Before the keeper is there: m->device_fd, and what make() needs. */
	int (*prepare)(struct pl_making *m, struct pl_failure *f);
	/* A worker serves: the device. In a process that may be killed. */
	int (*make)(struct pl_making *m, struct pl_blockdev *ret,
		    struct pl_failure *f);
	/* NULL, or: the launch failed, perhaps after make(). */
	void (*discard)(const char *id);

	/* ---- commands ---- */

	/* The device of this attachment, by what the kernel says of it. */
	bool (*find)(const char *id, struct pl_blockdev *ret);
	/*
	 * Frees it: MOUNTED when it is in use, TIMEOUT when it does not go away.
	 * served: keeper or worker live; else nobody answers its requests.
	 */
	int (*remove)(const struct pl_blockdev *dev, const char *id,
		      bool served, unsigned timeout_ms, struct pl_failure *f);
	/* The disk has this size now: the device is to show it. */
	int (*show_size)(const struct pl_blockdev *dev, const char *id,
			 uint64_t size, struct pl_failure *f);

	/* ---- the keeper ---- */

	/* It keeps CAP_SYS_ADMIN, for renew(); its workers do not. */
	bool keeps_admin;
	/* NULL, or: opens what renew() needs; a descriptor or -errno. */
	int (*keep)(void);
	/*
	 * NULL, or: the worker is gone with its last I/O; the kernel is to hand
	 * out again what was not answered. May put another descriptor in the
	 * place of device_fd, by dup3(). Allocates nothing. -ENODEV: the device
	 * is gone.
	 */
	int (*renew)(struct pl_kept *kept);
	/* A sign that the device is gone while no worker is there to see it. */
	bool (*gone)(int device_fd);

	/* ---- the worker; a front that claim() or serve() made ---- */

	/* The worker's ring takes commands to devices (base/loop.h). */
	bool commands;
	/*
	 * NULL, or: becomes what answers the device, with the keeper's
	 * capabilities, before anything of the image is read; requests may wait
	 * until serve(), which gets *ret.
	 */
	int (*claim)(struct pl_worker *w, void **ret, struct pl_err *err);
	/*
	 * Begins to answer PL_FD_DEVICE with w->engine; *ret for those below.
	 * Calls pl_worker_device_gone() when the device went away.
	 */
	int (*serve)(struct pl_worker *w, void **ret, struct pl_err *err);
	bool (*in_use)(const void *front); /* a device is on it */
	unsigned (*inflight)(const void *front); /* taken, not answered */
	/* NULL, or: 0 when a device in use can get another size. */
	int (*may_grow)(const void *front, struct pl_err *err);
	void (*grown)(void *front); /* NULL, or: the disk has another size */
	/* Takes no more requests; those in flight are still answered. What is
	 * not taken then belongs to the next worker, if there is one. */
	void (*stop)(void *front);
};

extern const struct pl_via pl_via_fuse, pl_via_nbd, pl_via_ublk;

/* By --via's word. NULL: there is none of that name ("auto" neither). */
const struct pl_via *pl_via_by_name(const char *name);
/* The words that --via may have. */
extern const char pl_via_names[];
/*
 * For --via: NULL or "auto" is the first of the table that is there and survives
 * a worker's death, else the first that is there. probe()'s error otherwise.
 */
int pl_via_choose(const char *name, const struct pl_via **ret,
		  struct pl_failure *f);
/* The one that has a device of this attachment; NULL: none has. */
const struct pl_via *pl_via_find(const char *id, struct pl_blockdev *ret);

/* ---- a front that may not be there ---- */

static inline bool pl_front_in_use(const struct pl_front *f)
{
	return f->via && f->via->in_use(f->of);
}

static inline unsigned pl_front_inflight(const struct pl_front *f)
{
	return f->via ? f->via->inflight(f->of) : 0;
}

static inline int pl_front_may_grow(const struct pl_front *f,
				    struct pl_err *err)
{
	return f->via && f->via->may_grow ? f->via->may_grow(f->of, err) : 0;
}

static inline void pl_front_grown(const struct pl_front *f)
{
	if (f->via && f->via->grown)
		f->via->grown(f->of);
}

static inline void pl_front_stop(const struct pl_front *f)
{
	if (f->via)
		f->via->stop(f->of);
}

#endif
