/* Writes to FILE what its arguments say, says `done`, and waits to be killed: for tests.

   writes FILE STEP...: aTEXT appends, oTEXT overwrites from the beginning, vTEXT appends by writev,
   pTEXT overwrites from byte 2 on by pwrite, tN cuts to N bytes, z opens it anew and cuts it to
   nothing, s syncs it (fsync), d syncs it (fdatasync), y opens it anew for writes that are synced,
   nNAME gives it another name. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static void check(long result) {
    if (result < 0) {
        perror("writes");
        exit(1);
    }
}

int main(int count, char **words) {
    const char *path = words[1];
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    check(fd);
    for (int i = 2; i < count; i++) {
        char *text = words[i] + 1;
        size_t length = strlen(text);
        struct iovec halves[2] = {{text, length / 2}, {text + length / 2, length - length / 2}};
        switch (words[i][0]) {
        case 'a': check(lseek(fd, 0, SEEK_END)); check(write(fd, text, length)); break;
        case 'o': check(lseek(fd, 0, SEEK_SET)); check(write(fd, text, length)); break;
        case 'v': check(lseek(fd, 0, SEEK_END)); check(writev(fd, halves, 2)); break;
        case 'p': check(pwrite(fd, text, length, 2)); break;
        case 't': check(ftruncate(fd, atol(text))); break;
        case 'z': check(close(fd)); check(fd = open(path, O_RDWR | O_TRUNC)); break;
        case 'y': check(close(fd)); check(fd = open(path, O_RDWR | O_DSYNC)); break;
        case 's': check(fsync(fd)); break;
        case 'd': check(fdatasync(fd)); break;
        case 'n': check(rename(path, text)); path = text; break;
        default: return 2;
        }
    }
    puts("done");
    fflush(stdout);
    pause();
}
