/*
 * The floor that commands which start a container are measured against: the system calls that make
 * the one of the bundle `plain` or `full`, by hand, with all answers known beforehand, and nothing
 * else. Nothing is read, remembered or reported; a call that fails ends it.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/*
 * PROGRAM, ROOTFS, GROUP, HOSTNAME, MEMORY_MAX, PIDS_MAX; CAPABILITIES, a set of bits; VOLUMES[],
 * directories of the host and where they go; FILTER[], numbers of eight bytes.
 */
#include "compare.h"

#include "mounts.h"

static const char *const DEV[] = {"mode", "755", "size", "65536k", NULL};
static const char *const PTS[] = {"ptmxmode", "0666", "mode", "0620", "gid", "5", NULL};
static const char *const SHM[] = {"mode", "1777", "size", "65536k", NULL};

#define GUARDED (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV)

static void bind_volume(int root, const char *source, const char *target)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    int mount = syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    need(mount >= 0);
    need(syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) == 0);
    attach(mount, root, target);
}

static void give_up_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    int capability;

    for (capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (!(CAPABILITIES >> capability & 1))
            need(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0);
    for (capability = 0; capability < 2; capability++)
        data[capability].effective = data[capability].permitted = (uint32_t)(CAPABILITIES >> 32 * capability);
    need(syscall(SYS_capset, &header, data) == 0);
    need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
}

static void become_container(int is_full)
{
    struct sock_fprog filter = {.len = COUNT(FILTER), .filter = (struct sock_filter *)FILTER};
    char *const arguments[] = {PROGRAM, NULL};
    char *const environment[] = {"PATH=/bin", NULL};
    int rootfs, dev;
    size_t i;

    need(setsid() >= 0);
    need(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) == 0);
    rootfs = syscall(SYS_open_tree, AT_FDCWD, ROOTFS, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    need(rootfs >= 0);
    need(syscall(SYS_move_mount, rootfs, "", AT_FDCWD, ROOTFS, MOVE_MOUNT_F_EMPTY_PATH) == 0);
    attach(new_filesystem("proc", NULL, GUARDED), rootfs, "proc");
    dev = new_filesystem("tmpfs", DEV, MOUNT_ATTR_NOSUID);
    populate(dev);
    attach(dev, rootfs, "dev");
    attach(new_filesystem("devpts", PTS, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), rootfs, "dev/pts");
    attach(new_filesystem("tmpfs", SHM, GUARDED), rootfs, "dev/shm");
    attach(new_filesystem("mqueue", NULL, GUARDED), rootfs, "dev/mqueue");
    for (i = 0; is_full && i < COUNT(VOLUMES); i++)
        bind_volume(rootfs, VOLUMES[i].source, VOLUMES[i].target);
    need(sethostname(HOSTNAME, strlen(HOSTNAME)) == 0);

    need(fchdir(rootfs) == 0);
    need(syscall(SYS_pivot_root, ".", ".") == 0);
    need(umount2(".", MNT_DETACH) == 0);
    need(chdir("/") == 0);
    need(syscall(SYS_close_range, 3, ~0U, 0) == 0);
    give_up_rights();
    if (is_full)
        need(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0);
    execve(arguments[0], arguments, environment);
    abort();
}

static void write_file(int directory, const char *name, const char *text)
{
    int file = openat(directory, name, O_WRONLY | O_CLOEXEC);

    need(file >= 0 && write(file, text, strlen(text)) > 0);
    close(file);
}

int main(int count, char **arguments)
{
    struct clone_args clone = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
    };
    int is_full = count > 1 && strcmp(arguments[1], "full") == 0;
    int group, status;
    long child;

    need(mkdir(GROUP, 0755) == 0);
    need((group = open(GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    if (is_full) {
        write_file(group, "memory.max", MEMORY_MAX);
        write_file(group, "pids.max", PIDS_MAX);
    }
    clone.cgroup = (uint64_t)group;
    need((child = syscall(SYS_clone3, &clone, sizeof(clone))) >= 0);
    if (child == 0)
        become_container(is_full);
    need(waitpid(child, &status, 0) == child);
    need(rmdir(GROUP) == 0);
    return WEXITSTATUS(status);
}
