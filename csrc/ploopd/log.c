/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines go out in one write() each, so that keeper and worker, which
 * share the file (opened with O_APPEND), do not mix theirs.
 */
#include "ploopd/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_MAX (1 << 20)

static const char *prefix = "ploopd";

void pl_log_init(const char *who)
{
	prefix = who;
}

void pl_log(const char *fmt, ...)
{
	struct timespec now;
	struct stat sb;
	struct tm tm;
	char line[1100];
	size_t len, n;
	va_list ap;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(line, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	len += (size_t)snprintf(line + len, 60,
				".%03ldZ %s[%d]: ", now.tv_nsec / 1000000,
				prefix, (int)getpid());
	va_start(ap, fmt);
	vsnprintf(line + len, 1000, fmt, ap);
	va_end(ap);
	n = strlen(line);
	line[n++] = '\n';
	if (fstat(STDERR_FILENO, &sb) == 0 && S_ISREG(sb.st_mode) &&
	    sb.st_size > LOG_MAX && ftruncate(STDERR_FILENO, 0) < 0)
		return;
	/* Nobody to tell when this fails. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}
