/* SPDX-License-Identifier: Apache-2.0 */
/* The list of system calls, in children that make one of each kind. */
#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ploopd/confine/syscalls.h"
#include "tap.h"

/* Raw calls throughout: nothing of libc or a sanitizer may come in between. */
static long raw(long nr, long a, long b, long c)
{
	return syscall(nr, a, b, c);
}

static long try_read(void)
{
	return raw(SYS_read, -1, 0, 0) < 0 && errno == EBADF;
}

static long try_kill(void)
{
	return raw(SYS_kill, raw(SYS_getpid, 0, 0, 0), 0, 0) == 0;
}

static long try_socket(void)
{
	return raw(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
}

static long try_execve(void)
{
	return raw(SYS_execve, (long)"/bin/true", 0, 0);
}

static long try_ptrace(void)
{
	return raw(SYS_ptrace, 0, 0, 0);
}

static long try_executable_memory(void)
{
	return syscall(SYS_mmap, NULL, 4096UL, PROT_READ | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0UL);
}

static long try_plain_memory(void)
{
	return syscall(SYS_mmap, NULL, 4096UL, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0UL) > 0;
}

static long try_namespace(void)
{
	return raw(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0);
}

static long try_signal_to_other(void)
{
	return raw(SYS_tgkill, getppid(), getppid(), 0);
}

static long try_clone3(void)
{
	return raw(SYS_clone3, 0, 0, 0) < 0 && errno == ENOSYS;
}

static long try_share_extents(void)
{
	return raw(SYS_ioctl, -1, FICLONERANGE, 0) < 0 && errno == EBADF;
}

static long try_list_extents(void)
{
	return raw(SYS_ioctl, -1, FS_IOC_FIEMAP, 0) < 0 && errno == EBADF;
}

static long try_terminal(void)
{
	return raw(SYS_ioctl, -1, TCGETS, 0) < 0 && errno == ENOTTY;
}

/* 0: made and true; a signal's number: killed for it. */
static int outcome(enum pl_syscalls whose, long (*call)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    pl_syscalls_limit(whose) < 0)
			syscall(SYS_exit_group, 100);
		syscall(SYS_exit_group, call() == 1 ? 0 : 101);
	}
	is_int(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

pl_test("lets a worker read, and kills it for what is not on its list")
{
	is_int(outcome(PL_SYSCALLS_WORKER, try_read), 0);
	is_int(outcome(PL_SYSCALLS_WORKER, try_kill), SIGSYS);
	is_int(outcome(PL_SYSCALLS_WORKER, try_socket), SIGSYS);
	is_int(outcome(PL_SYSCALLS_WORKER, try_execve), SIGSYS);
	is_int(outcome(PL_SYSCALLS_WORKER, try_ptrace), SIGSYS);
	is_int(outcome(PL_SYSCALLS_WORKER, try_namespace), SIGSYS);
	is_int(outcome(PL_SYSCALLS_WORKER, try_clone3), SIGSYS);
}

pl_test("looks at arguments: memory is not executable, signals stay at home")
{
	is_int(outcome(PL_SYSCALLS_WORKER, try_plain_memory), 0);
	is_int(outcome(PL_SYSCALLS_WORKER, try_executable_memory), SIGSYS);
	is_int(outcome(PL_SYSCALLS_WORKER, try_signal_to_other), SIGSYS);
	is_int(outcome(PL_SYSCALLS_KEEPER, try_executable_memory), SIGSYS);
}

pl_test("lets a worker share and list extents, and refuses other ioctls")
{
	is_int(outcome(PL_SYSCALLS_WORKER, try_share_extents), 0);
	is_int(outcome(PL_SYSCALLS_WORKER, try_list_extents), 0);
	is_int(outcome(PL_SYSCALLS_WORKER, try_terminal), 0);
}

pl_test("lets a keeper signal and fork, and execute nothing")
{
	is_int(outcome(PL_SYSCALLS_KEEPER, try_read), 0);
	is_int(outcome(PL_SYSCALLS_KEEPER, try_kill), 0);
	is_int(outcome(PL_SYSCALLS_KEEPER, try_clone3), 0);
	is_int(outcome(PL_SYSCALLS_KEEPER, try_socket), SIGSYS);
	is_int(outcome(PL_SYSCALLS_KEEPER, try_execve), SIGSYS);
	is_int(outcome(PL_SYSCALLS_KEEPER, try_namespace), SIGSYS);
}

int main(void)
{
	return pl_tap_main();
}
