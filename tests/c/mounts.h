/*
 * What the programs that make a container by hand have in common: mounts by descriptor, and what a
 * `/dev` holds. A call that fails ends the program.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

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

static void need(int ok)
{
    if (!ok)
        abort();
}

/* Options are names and values in turn. */
static int new_filesystem(const char *type, const char *const *options, unsigned int attributes)
{
    int context = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), mount;

    need(context >= 0);
    for (; options && *options; options += 2)
        need(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, options[0], options[1], 0) == 0);
    need(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0);
    need((mount = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes)) >= 0);
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
