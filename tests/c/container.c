/*
 * The floor that the start of a container is measured against: the system calls that isolate the program of
 * /containers/start/rootfs as its config.json asks, by hand, and nothing else. It runs as init=, so that the mounts around
 * it are those that berth leaves, and passes on what the program prints.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "script.h" /* static const char SCRIPT[], what the program is told to do */

#define ROOTFS "/containers/start/rootfs"
#define GROUP "/sys/fs/cgroup/berth"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *name;
    unsigned int major, minor;
} NODES[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

static const struct {
    const char *name, *target;
} LINKS[] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
    {"ptmx", "pts/ptmx"},
};

static const char *const DIRECTORIES[] = {"pts", "shm", "mqueue"};

static const char *const PTS[] = {"ptmxmode", "0666", "mode", "0620", NULL};
static const char *const SHM[] = {"mode", "1777", "size", "64m", NULL};

static void need(int ok)
{
    if (!ok)
        abort();
}

/* Options are names and values in turn. */
static int new_filesystem(const char *type, const char *const *options)
{
    int context = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), mount;

    need(context >= 0);
    for (; options && *options; options += 2)
        need(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, options[0], options[1], 0) == 0);
    need(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0);
    need((mount = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0)) >= 0);
    close(context);
    return mount;
}

static void attach(int mount, int root, const char *path)
{
    int target = openat(root, path, O_PATH | O_CLOEXEC);

    need(target >= 0);
    need(syscall(SYS_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0);
    close(target);
    close(mount);
}

static void populate(int dev)
{
    size_t i;

    for (i = 0; i < COUNT(NODES); i++)
        need(mknodat(dev, NODES[i].name, S_IFCHR | 0666, makedev(NODES[i].major, NODES[i].minor)) == 0);
    for (i = 0; i < COUNT(LINKS); i++)
        need(symlinkat(LINKS[i].target, dev, LINKS[i].name) == 0);
    for (i = 0; i < COUNT(DIRECTORIES); i++)
        need(mkdirat(dev, DIRECTORIES[i], 0755) == 0);
}

static void become_container(int output)
{
    char *const arguments[] = {"/bin/busybox", "sh", "-c", (char *)SCRIPT, NULL};
    char *const environment[] = {NULL};
    int null, rootfs, dev;

    need(setsid() >= 0);
    need((null = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
    need(dup2(null, 0) == 0 && dup2(output, 1) == 1 && dup2(output, 2) == 2);

    need(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) == 0);
    rootfs = syscall(SYS_open_tree, AT_FDCWD, ROOTFS, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    need(rootfs >= 0);
    need(syscall(SYS_move_mount, rootfs, "", AT_FDCWD, ROOTFS, MOVE_MOUNT_F_EMPTY_PATH) == 0);
    attach(new_filesystem("proc", NULL), rootfs, "proc");
    dev = new_filesystem("tmpfs", NULL);
    populate(dev);
    attach(dev, rootfs, "dev");
    attach(new_filesystem("devpts", PTS), rootfs, "dev/pts");
    attach(new_filesystem("tmpfs", SHM), rootfs, "dev/shm");
    attach(new_filesystem("mqueue", NULL), rootfs, "dev/mqueue");
    attach(new_filesystem("tracefs", NULL), rootfs, "trace");
    need(sethostname("start", 5) == 0);

    need(fchdir(rootfs) == 0);
    need(syscall(SYS_pivot_root, ".", ".") == 0);
    need(umount2(".", MNT_DETACH) == 0);
    need(chdir("/") == 0);
    need(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0);
    need(syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0);
    execve(arguments[0], arguments, environment);
    abort();
}

int main(void)
{
    struct clone_args arguments = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
    };
    char buffer[4096];
    ssize_t length;
    int output[2], group;
    long child;

    need(mkdir(GROUP, 0755) == 0 && mkdir(GROUP "/start", 0755) == 0);
    need((group = open(GROUP "/start", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    need(pipe2(output, O_CLOEXEC) == 0);
    arguments.cgroup = (uint64_t)group;
    need((child = syscall(SYS_clone3, &arguments, sizeof(arguments))) >= 0);
    if (child == 0)
        become_container(output[1]);
    close(output[1]);
    while ((length = read(output[0], buffer, sizeof(buffer))) > 0)
        need(write(1, buffer, length) == length);
    need(waitpid(child, NULL, 0) == child);
    reboot(RB_POWER_OFF);
    return 1;
}
