/*
 * The init behind the one that is measured. Its first act is a record in the kernel's log, whose
 * time is the end of the measurement; the kernel's own record "Run /init as init process" is the
 * beginning. Both are by the same clock, in µs. It prints the two and the modules that are loaded,
 * the last one first, and switches the machine off.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

static const char MARK[] = "bench: the next init runs\n";

int main(void)
{
    int log = open("/dev/kmsg", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    char record[8192];
    unsigned long long begin = 0, end = 0, time;
    FILE *modules;
    ssize_t length;

    if (log < 0 || write(log, MARK, strlen(MARK)) < 0)
        return 1;
    while ((length = read(log, record, sizeof(record) - 1)) > 0) {
        record[length] = '\0';
        if (sscanf(record, "%*u,%*u,%llu", &time) != 1)
            continue;
        if (strstr(record, ";Run /init as init process\n"))
            begin = time;
        if (strstr(record, MARK))
            end = time;
    }
    printf("\nbench: %llu %llu\n", begin, end);
    if ((modules = fopen("/proc/modules", "r")) != NULL) {
        while (fscanf(modules, "%255s%*[^\n]", record) == 1)
            printf("bench: module %s\n", record);
        fclose(modules);
    }
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 1;
}
