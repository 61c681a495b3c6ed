/* A disk that forgets at a power cut what was not synced: LD_PRELOAD, for tests.

   Before each write to a file below $POWER_ROOT the bytes that it replaces, and the length that the
   file has, are appended to $POWER_KEPT/DEVICE-INODE; fsync and fdatasync remove that. Whoever cuts
   the power (`power.py`) kills the process and plays what is kept backwards: each file then is as it
   was when it was last synced.

   Covered: write, pwrite, writev, pwritev (append and overwrite), truncate, O_TRUNC, fallocate; files
   opened with O_SYNC or O_DSYNC are as good as synced. Not covered: mapped memory, sendfile and
   copy_file_range, io_uring, what libc's own stdio writes, and directories: a file that is made,
   renamed or removed is so at once. Of what is not synced all is lost, never only a part.

   The real calls are made as system calls: nothing has to be looked up, whenever this is called. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct kept {
    int64_t size, at, length;
};

/* Whether this is a regular file below the root; its state in `found`. */
static int watched(int fd, struct stat *found) {
    const char *root = getenv("POWER_ROOT");
    char name[64], path[PATH_MAX];
    if (root == NULL || getenv("POWER_KEPT") == NULL || fstat(fd, found) || !S_ISREG(found->st_mode))
        return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    size_t prefix = strlen(root);
    return strncmp(path, root, prefix) == 0 && path[prefix] == '/';
}

static void place(const struct stat *file, char *path) {
    snprintf(path, PATH_MAX, "%s/%lx-%lx", getenv("POWER_KEPT"), (unsigned long)file->st_dev,
             (unsigned long)file->st_ino);
}

static void broken(const char *what) {
    dprintf(2, "power.c: %s: %s\n", what, strerror(errno));
    abort();
}

/* Keep what stands in [at, at + length) of a file, and how long it is. */
static void keep(int fd, const struct stat *file, int64_t at, int64_t length) {
    char path[PATH_MAX], name[64], buffer[65536];
    struct kept head = {file->st_size, at, 0};
    if (at < file->st_size)
        head.length = length < file->st_size - at ? length : file->st_size - at;
    place(file, path);
    int out = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0 || syscall(SYS_write, out, &head, sizeof head) != sizeof head)
        broken("cannot keep");
    if (head.length > 0) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        int in = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
        if (in < 0)
            broken("cannot read");
        for (int64_t done = 0; done < head.length;) {
            int64_t left = head.length - done;
            size_t want = left < (int64_t)sizeof buffer ? (size_t)left : sizeof buffer;
            ssize_t got = syscall(SYS_pread64, in, buffer, want, at + done);
            if (got <= 0 || syscall(SYS_write, out, buffer, got) != got)
                broken("cannot keep");
            done += got;
        }
        syscall(SYS_close, in);
    }
    syscall(SYS_close, out);
}

static void before_write(int fd, const struct stat *file, int64_t at, int64_t length) {
    int flags = fcntl(fd, F_GETFL);
    if (flags & (O_SYNC | O_DSYNC))
        return;
    if (flags & O_APPEND)
        at = file->st_size;
    else if (at < 0)
        at = lseek(fd, 0, SEEK_CUR);
    keep(fd, file, at, length);
}

static int64_t total(const struct iovec *parts, int count) {
    int64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += parts[i].iov_len;
    return sum;
}

/* What is kept and what is written have one order. */
#define WRITES(fd, at, length, call)                                                                \
    struct stat file;                                                                               \
    if (!watched(fd, &file))                                                                        \
        return call;                                                                                \
    pthread_mutex_lock(&lock);                                                                      \
    fstat(fd, &file);                                                                               \
    before_write(fd, &file, at, length);                                                            \
    ssize_t done = call;                                                                            \
    int error = errno;                                                                              \
    pthread_mutex_unlock(&lock);                                                                    \
    errno = error;                                                                                  \
    return done;

ssize_t write(int fd, const void *bytes, size_t length) {
    WRITES(fd, -1, length, syscall(SYS_write, fd, bytes, length))
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    WRITES(fd, at, length, syscall(SYS_pwrite64, fd, bytes, length, at))
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return pwrite64(fd, bytes, length, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    WRITES(fd, -1, total(parts, count), syscall(SYS_writev, fd, parts, count))
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    WRITES(fd, at, total(parts, count), syscall(SYS_pwritev, fd, parts, count, at, 0))
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return pwritev64(fd, parts, count, at);
}

int ftruncate64(int fd, off64_t size) {
    WRITES(fd, size, INT64_MAX / 2, syscall(SYS_ftruncate, fd, size))
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    WRITES(fd, at, length, syscall(SYS_fallocate, fd, mode, at, length))
}

int fallocate(int fd, int mode, off_t at, off_t length) { return fallocate64(fd, mode, at, length); }

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    return fallocate64(fd, 0, at, length) ? errno : 0;
}

int posix_fallocate(int fd, off_t at, off_t length) { return posix_fallocate64(fd, at, length); }

/* It is opened as it is, and cut then: between the two is what has to be kept. */
static int opened(int folder, const char *path, int flags, mode_t mode) {
    int fd = syscall(SYS_openat, folder, path, flags & ~O_TRUNC, mode);
    if (fd < 0 || !(flags & O_TRUNC) || (flags & O_ACCMODE) == O_RDONLY)
        return fd;
    struct stat file;
    if (fstat(fd, &file) || !S_ISREG(file.st_mode) || ftruncate64(fd, 0) == 0)
        return fd;
    int error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return -1;
}

#define MODE(last)                                                                                  \
    mode_t mode = 0;                                                                                \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                          \
        va_list more;                                                                               \
        va_start(more, last);                                                                       \
        mode = va_arg(more, mode_t);                                                                \
        va_end(more);                                                                               \
    }

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return opened(folder, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    MODE(flags)
    return opened(folder, path, flags, mode);
}

int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }

int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }

int creat64(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat(const char *path, mode_t mode) { return creat64(path, mode); }

int truncate64(const char *path, off64_t size) {
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int done = ftruncate64(fd, size), error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return done;
}

int truncate(const char *path, off_t size) { return truncate64(path, size); }

/* As good as synced: what was kept is not needed any more. The disk itself is not waited for. */
static int synced(int fd, int call) {
    struct stat file;
    char path[PATH_MAX];
    if (!watched(fd, &file))
        return syscall(call, fd);
    place(&file, path);
    pthread_mutex_lock(&lock);
    if (unlink(path) && errno != ENOENT)
        broken("cannot forget");
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }

int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
