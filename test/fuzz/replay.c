/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files, without libFuzzer:
 *
 *   <target>_replay CORPUS-DIRECTORY REGRESSION-DIRECTORY
 *
 * The corpus is one test, each regression file one of its own, in the order of
 * their names. An input that crashes, takes more than SECONDS_MAX or asks for
 * more than ALLOCATION_MAX_MB at once ends the program; the last line says
 * which it was.
 */
#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include "fuzz.h"

#define SECONDS_MAX 20u
#define STRING2(x) #x
#define STRING(x) STRING2(x)
#define ALLOCATION_MAX_MB 256

const char *__asan_default_options(void);

/* Asked by AddressSanitizer. */
const char *__asan_default_options(void)
{
	return "max_allocation_size_mb=" STRING(ALLOCATION_MAX_MB);
}

static void on_alarm(int signal)
{
	static const char text[] = "# takes too long\n";

	(void)signal;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	abort();
}

static void run_file(const char *dir, const char *name)
{
	char path[4096];
	uint8_t *data;
	FILE *f;
	long size;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	printf("# %s\n", path);
	f = fopen(path, "rb");
	fuzz_require_say(f, path);
	fuzz_require(fseek(f, 0, SEEK_END) == 0);
	size = ftell(f);
	rewind(f);
	data = malloc((size_t)size + 1);
	fuzz_require(size >= 0 && data);
	fuzz_require(fread(data, 1, (size_t)size, f) == (size_t)size);
	fclose(f);
	alarm(SECONDS_MAX);
	LLVMFuzzerTestOneInput(data, (size_t)size);
	alarm(0);
	free(data);
}

static int is_input(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* Returns how many there are; a directory that is not there has none. */
static int run_directory(const char *dir, unsigned *test)
{
	struct dirent **list;
	int n = scandir(dir, &list, is_input, alphasort);

	for (int i = 0; i < n; i++) {
		run_file(dir, list[i]->d_name);
		if (test)
			printf("ok %u - survives %s\n", ++*test,
			       list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return n;
}

int main(int argc, char **argv)
{
	unsigned test = 1;
	int n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, on_alarm);
	if (argc != 3) {
		fprintf(stderr, "usage: %s CORPUS REGRESSIONS\n", argv[0]);
		return 2;
	}
	n = run_directory(argv[1], NULL);
	printf("%sok 1 - takes the %d inputs of the corpus\n",
	       n > 0 ? "" : "not ", n > 0 ? n : 0);
	run_directory(argv[2], &test);
	printf("1..%u\n", test);
	return n > 0 ? 0 : 1;
}
