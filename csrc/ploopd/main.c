/* SPDX-License-Identifier: Apache-2.0 */
/* The ploopd program: which part of it is meant, and its arguments. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ploopd/attach/launch.h"
#include "ploopd/attach/manage.h"
#include "ploopd/exports/offer.h"
#include "ploopd/title.h"

static const char usage[] =
	"Usage: ploopd attach IMAGE-DIR [--read-only] [--snapshot ID]\n"
	"                     [--via auto|fuse|nbd|ublk |\n"
	"                      --no-loop | --no-device]\n"
	"                     [--sector-size 512|4096]\n"
	"                     [--on-full pause|error] [--iops N] [--bps N]\n"
	"                     [--run-dir DIR]\n"
	"       ploopd detach ATTACHMENT [--timeout-ms N] [--run-dir DIR]\n"
	"       ploopd capacity ATTACHMENT --size BYTES [--run-dir DIR]\n"
	"       ploopd recover ATTACHMENT [--timeout-ms N] [--run-dir DIR]\n"
	"       ploopd upgrade ATTACHMENT [--timeout-ms N] [--run-dir DIR]\n"
	"       ploopd export ATTACHMENT --name NAME\n"
	"                     --socket PATH | --listen ADDR[:PORT]\n"
	"                     [--read-only] [--description TEXT]\n"
	"                     [--tls DIR [--tls-verify-peer]]\n"
	"                     [--insecure-plain] [--idle-ms N] [--run-dir DIR]\n"
	"       ploopd --version | --help\n"
	"\n"
	"Serves a ploop image as a block device. Prints one line of JSON.\n"
	"Meant for programs; people use ploop attach and ploop detach.\n"
	"\n"
	"  --read-only     the device refuses writes\n"
	"  --snapshot ID   the device shows a snapshot (id, prefix or name)\n"
	"  --via WAY       how the block device is made; default auto\n"
	"  --sector-size   of the device in bytes; default 512\n"
	"  --no-loop       no device: a file in the run directory instead\n"
	"  --no-device     neither of them: for exports\n"
	"  --on-full WHAT  when the host is full: writes wait (pause, the\n"
	"                  default), or fail (error)\n"
	"  --iops N        operations a second at most\n"
	"  --bps N         bytes a second at most\n"
	"  --run-dir DIR   default: $PLOOP_RUN_DIR, or /run/ploop\n"
	"  --timeout-ms N  how long to wait; default 10000\n"
	"\n"
	"capacity makes the device show the size that the image was given. "
	"recover starts the worker again that died too often, and the keeper that\n"
	"was killed. upgrade lets this program take over from the one that runs.\n";

static int bad_usage(const char *what, const char *word)
{
	struct pl_failure f = { 0 };

	pl_err_set(&f.err, PL_E_INVALID_ARGUMENT, 0, "%s%s%s", what,
		   word ? ": " : "", word ? word : "");
	pl_hint(&f, 0, "See ploopd --help");
	return pl_report_failure(&f);
}

static const struct option options[] = {
	{ "read-only", no_argument, NULL, 'r' },
	{ "snapshot", required_argument, NULL, 's' },
	{ "sector-size", required_argument, NULL, 'b' },
	{ "no-loop", no_argument, NULL, 'n' },
	{ "no-device", no_argument, NULL, 'x' },
	{ "on-full", required_argument, NULL, 'f' },
	{ "iops", required_argument, NULL, 'i' },
	{ "bps", required_argument, NULL, 'p' },
	{ "run-dir", required_argument, NULL, 'd' },
	{ "timeout-ms", required_argument, NULL, 't' },
	{ "via", required_argument, NULL, 'v' },
	{ "size", required_argument, NULL, 'z' },
	{ NULL, 0, NULL, 0 },
};

struct arguments {
	struct pl_attach_options attach;
	unsigned timeout_ms;
	uint64_t size; /* of capacity */
};

static int parse(int argc, char **argv, bool attach, struct arguments *a)
{
	int c;

	a->attach.on_full = PL_ON_FULL_PAUSE;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return bad_usage("unknown option, or its value is "
					 "missing",
					 argv[optind - 1]);
		if (c != 'd' && (c == 't' || c == 'z') == attach)
			return bad_usage("option of another command",
					 argv[optind - 1]);
		if (c == 'r')
			a->attach.read_only = true;
		else if (c == 's')
			a->attach.snapshot = optarg;
		else if (c == 'b')
			a->attach.sector_size = (uint32_t)atoi(optarg);
		else if (c == 'n')
			a->attach.loop = false;
		else if (c == 'x')
			a->attach.bare = true;
		else if (c == 'f' &&
			 pl_on_full_parse(optarg, &a->attach.on_full) < 0)
			return bad_usage("--on-full must be pause or error",
					 NULL);
		else if (c == 'i')
			a->attach.limits.iops = strtoull(optarg, NULL, 10);
		else if (c == 'p')
			a->attach.limits.bps = strtoull(optarg, NULL, 10);
		else if (c == 'v')
			a->attach.via = optarg;
		else if (c == 'z')
			a->size = strtoull(optarg, NULL, 10);
		else if (c == 'd')
			a->attach.run_dir = optarg;
		else if (c == 't')
			a->timeout_ms = (unsigned)strtoul(optarg, NULL, 10);
	}
	if (optind != argc - 1)
		return bad_usage(attach ? "attach takes one image directory" :
					  "this command takes one attachment",
				 NULL);
	if (a->attach.sector_size != 512 && a->attach.sector_size != 4096)
		return bad_usage("--sector-size must be 512 or 4096", NULL);
	if (pl_limits_wrong(a->attach.limits))
		return bad_usage("attach", pl_limits_wrong(a->attach.limits));
	if (a->attach.via && (!a->attach.loop || a->attach.bare))
		return bad_usage("--via goes with a device", NULL);
	a->attach.directory = argv[optind];
	return 0;
}

static bool is_management(const char *command)
{
	return !strcmp(command, "recover") || !strcmp(command, "upgrade");
}

int main(int argc, char **argv)
{
	struct arguments a = {
		.attach = { .loop = true, .sector_size = 512 },
		.timeout_ms = 10000,
	};
	const char *command = argc > 1 ? argv[1] : "";
	bool attach = !strcmp(command, "attach");
	int status;

	pl_title_init(argc, argv);
	if (!strcmp(command, "--version"))
		return puts("ploopd " PL_VERSION) < 0;
	if (!strcmp(command, "--help"))
		return fputs(usage, stdout) < 0;
	if (!strcmp(command, "export"))
		return pl_offer_main(argc, argv);
	if (!attach && !is_management(command) &&
	    strcmp(command, "capacity") != 0 && strcmp(command, "detach") != 0)
		return bad_usage(
			"expected attach, capacity, detach, export, recover or "
			"upgrade",
			argc > 1 ? command : NULL);
	status = parse(argc - 1, argv + 1, attach, &a);
	if (status != 0)
		return status;
	if (is_management(command))
		return pl_manage_main(command, a.attach.directory,
				      a.attach.run_dir, a.timeout_ms);
	if (!strcmp(command, "capacity"))
		return pl_capacity_main(a.attach.directory, a.attach.run_dir,
					a.size);
	return attach ? pl_attach_main(&a.attach) :
			pl_detach_main(a.attach.directory, a.attach.run_dir,
				       a.timeout_ms);
}
