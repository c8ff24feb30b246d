/*
 * The floor that the start of a container is measured against: the system calls that isolate the
 * program of /rootfs as its config.json asks, by hand, and nothing else. It runs as init=, so that
 * the mounts around it are those that berth leaves, and passes on what the program prints.
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>

#include "mounts.h"
#include "script.h" /* static const char SCRIPT[], what the program is told to do */

#define ROOTFS "/rootfs"
#define GROUP "/sys/fs/cgroup/berth"

static const char *const PTS[] = {"ptmxmode", "0666", "mode", "0620", NULL};
static const char *const SHM[] = {"mode", "1777", "size", "64m", NULL};

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
    attach(new_filesystem("proc", NULL, 0), rootfs, "proc");
    dev = new_filesystem("tmpfs", NULL, 0);
    populate(dev);
    attach(dev, rootfs, "dev");
    attach(new_filesystem("devpts", PTS, 0), rootfs, "dev/pts");
    attach(new_filesystem("tmpfs", SHM, 0), rootfs, "dev/shm");
    attach(new_filesystem("mqueue", NULL, 0), rootfs, "dev/mqueue");
    attach(new_filesystem("tracefs", NULL, 0), rootfs, "trace");
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

/* The kernel counts the memory and the processes of the groups below, as it does for berth. */
static void count(const char *controllers)
{
    static const char WANTED[] = "+memory +pids";
    int file = open(controllers, O_WRONLY | O_CLOEXEC);

    need(file >= 0 && write(file, WANTED, sizeof(WANTED) - 1) == sizeof(WANTED) - 1);
    close(file);
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

    count("/sys/fs/cgroup/cgroup.subtree_control");
    need(mkdir(GROUP, 0755) == 0);
    count(GROUP "/cgroup.subtree_control");
    need(mkdir(GROUP "/start", 0755) == 0);
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
    need(tcdrain(1) == 0);
    reboot(RB_POWER_OFF);
    return 1;
}
