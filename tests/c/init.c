/*
 * The floor that berth is measured against: the least that gets a machine from an initramfs onto
 * /dev/vda1 and into the next init. It knows everything beforehand (modules.h lists the modules in
 * their order and names the filesystem), reports nothing, and ends at the first thing that goes
 * wrong.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "modules.h" /* FSTYPE and static const char *const MODULES[], from the program that measures */

#define ROOT "/dev/vda1"
#define SYSROOT "/sysroot"
#define GUARDED (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static const struct {
    const char *type, *target;
    unsigned long flags;
    const char *data;
} EARLY[] = {
    {"devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755"},
    {"proc", "/proc", GUARDED, NULL},
    {"sysfs", "/sys", GUARDED, NULL},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"cgroup2", "/sys/fs/cgroup", GUARDED, "nsdelegate"},
};

static const char *const MOVED[] = {"/dev", "/proc", "/sys", "/run"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void need(int ok)
{
    if (!ok)
        abort();
}

static int listen_for_uevents(void)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
    int uevents = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
    int room = 16 << 20;

    need(uevents >= 0);
    need(setsockopt(uevents, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) == 0);
    need(bind(uevents, (struct sockaddr *)&address, sizeof(address)) == 0);
    return uevents;
}

static void load(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);

    need(file >= 0);
    need(syscall(SYS_finit_module, file, "", 0) == 0);
    close(file);
}

static void remove_contents(int directory, dev_t device)
{
    DIR *entries = fdopendir(directory);
    struct dirent *entry;

    need(entries != NULL);
    while ((entry = readdir(entries)) != NULL) {
        struct stat status;
        int is_directory;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        is_directory = entry->d_type == DT_DIR;
        if (is_directory) {
            int child = openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

            need(child >= 0 && fstat(child, &status) == 0);
            if (status.st_dev != device) {
                close(child);
                continue;
            }
            remove_contents(child, device);
        }
        /* A mount point stays. */
        unlinkat(directory, entry->d_name, is_directory ? AT_REMOVEDIR : 0);
    }
    closedir(entries);
}

int main(int argc, char **argv, char **environment)
{
    char *const next[] = {"/next", NULL};
    char message[8192], target[64];
    struct stat status;
    int uevents, old_root;
    size_t i;

    (void)argc, (void)argv;
    for (i = 0; i < COUNT(EARLY); i++) {
        mkdir(EARLY[i].target, 0755);
        need(mount(EARLY[i].type, EARLY[i].target, EARLY[i].type, EARLY[i].flags, EARLY[i].data) == 0);
    }
    uevents = listen_for_uevents();
    for (i = 0; i < COUNT(MODULES); i++)
        load(MODULES[i]);
    while (stat(ROOT, &status) != 0)
        need(recv(uevents, message, sizeof(message), 0) > 0);
    close(uevents);

    mkdir(SYSROOT, 0755);
    need(mount(ROOT, SYSROOT, FSTYPE, 0, NULL) == 0);
    need(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0);
    for (i = 0; i < COUNT(MOVED); i++) {
        strcpy(target, SYSROOT);
        strcat(target, MOVED[i]);
        mkdir(target, 0755);
        need(mount(MOVED[i], target, NULL, MS_MOVE, NULL) == 0);
    }
    need((old_root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
    need(fstat(old_root, &status) == 0);
    need(chdir(SYSROOT) == 0);
    if (syscall(SYS_pivot_root, ".", ".") == 0) {
        remove_contents(old_root, status.st_dev);
        need(umount2(".", MNT_DETACH) == 0);
    } else {
        need(mount(".", "/", NULL, MS_MOVE, NULL) == 0);
        need(chroot(".") == 0);
        remove_contents(old_root, status.st_dev);
    }
    need(chdir("/") == 0);
    need(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL) == 0);
    execve(next[0], next, environment);
    abort();
}
