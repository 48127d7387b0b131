/* A power cut for one process, and whatever else a disk can do to it: an LD_PRELOAD library.
 *
 * For files under $POWERCUT_DIR every change is preceded by a record that holds what it replaces, in the file
 * $POWERCUT_UNDO/log-<inode> of the file that changes, or of the directory in which something is created, renamed or
 * removed. A sync of a file or directory removes that log: what it says is permanent now. When the process has been
 * killed, powercut.py reads the logs that are left backwards and undoes what no sync made permanent.
 *
 * What goes wrong meanwhile is said by files in $POWERCUT_UNDO, from the moment at which they are there:
 *
 *   lie             syncs succeed and make nothing permanent: a disk that lies, or a program that does not sync
 *   slow-sync       how long a sync takes, in milliseconds; until then nothing is synced. Ends when the file does
 *   fail-sync       syncs fail with EIO; if it holds "once", it is removed by the first that does
 *   fail-write      changes fail with the error whose number it holds
 *   short-writes    of each write at most half is done, and it says so
 *   limit           the files of the directory cannot grow beyond the number of bytes that it holds, in total: ENOSPC
 *   die             "n k": SIGKILL in the n-th change from then on, when k bytes of it are done (modulo its size)
 *
 * One record is: struct record, the name, a second name, the bytes replaced. All in the machine's byte order.
 * Files are known by their inodes; a file that is removed or replaced is kept by a link $POWERCUT_UNDO/inode-<number>,
 * so the two directories must be on one file system. Not seen: memory maps, duplicated descriptors, io_uring. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 4096

enum kind { WRITTEN = 1, CREATED, REMOVED, RENAMED };

struct record {
    uint32_t kind, name_size, other_size, padding;
    uint64_t inode;     /* of the file; of the directory for CREATED, REMOVED, RENAMED */
    uint64_t offset;    /* WRITTEN: where bytes were replaced. REMOVED, RENAMED: inode that was at the (new) name */
    uint64_t size;      /* WRITTEN: of the file before */
    uint64_t old_size;  /* bytes that follow */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char watched[FILES_MAX]; /* by descriptor: is it one of ours, open for writing or a directory? */
static char directory[PATH_MAX], undo[PATH_MAX - 64];
static size_t directory_size;
static int is_on;
static long changes; /* since it was said that the process dies */

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        fprintf(stderr, "powercut: no %s\n", name);
        abort();
    }
    return found;
}

static void before_fork(void) { pthread_mutex_lock(&lock); } /* no other thread may hold it in the child, for ever */
static void after_fork(void) { pthread_mutex_unlock(&lock); }

__attribute__((constructor)) static void begin(void) {
    const char *wanted = getenv("POWERCUT_DIR"), *kept = getenv("POWERCUT_UNDO");
    if (wanted == NULL || kept == NULL)
        return;
    if (realpath(wanted, directory) == NULL || strlen(kept) >= sizeof undo) {
        fprintf(stderr, "powercut: cannot watch %s\n", wanted);
        abort();
    }
    strcpy(undo, kept);
    directory_size = strlen(directory);
    pthread_atfork(before_fork, after_fork, after_fork);
    is_on = 1;
}

/* -- what is said to go wrong --------------------------------------------------------------------------------- */

/* Is this file there? Then `text` is what it holds. */
static int is_said(const char *name, char *text, size_t size) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", undo, name);
    int file = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t found = read(file, text, size - 1);
    text[found < 0 ? 0 : found] = 0;
    REAL(close)(file);
    return 1;
}

/* Do changes fail? Then errno is set. */
static int is_broken(void) {
    char text[32];
    if (!is_said("fail-write", text, sizeof text))
        return 0;
    errno = atoi(text);
    return 1;
}

/* How many bytes of this change are left to do before the process dies; -1 if it lives. */
static ssize_t before_death(size_t size) {
    char text[64];
    long number, after;
    if (!is_said("die", text, sizeof text) || sscanf(text, "%ld %ld", &number, &after) != 2) {
        changes = 0;
        return -1;
    }
    return ++changes < number ? -1 : size == 0 ? 0 : after % (long)size;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void die_if_due(void) {
    if (before_death(0) == 0)
        die();
}

/* -- what is kept ---------------------------------------------------------------------------------------------- */

static int is_inside(const char *path) {
    return strncmp(path, directory, directory_size) == 0 && (path[directory_size] == '/' || path[directory_size] == 0);
}

/* The absolute name of a path whose directory exists, if that is inside; the name of the file itself is not followed. */
static int absolute(const char *path, char *into) {
    char copy[PATH_MAX], parent[PATH_MAX];
    if (!is_on || strlen(path) >= sizeof copy)
        return 0;
    strcpy(copy, path);
    char *slash = strrchr(copy, '/');
    const char *name = slash == NULL ? copy : slash + 1;
    if (slash != NULL)
        *slash = 0;
    if (realpath(slash == NULL ? "." : slash == copy ? "/" : copy, parent) == NULL)
        return 0;
    snprintf(into, PATH_MAX, "%.2000s/%.2000s", parent, name);
    return is_inside(into);
}

static uint64_t inode_of(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 ? found.st_ino : 0;
}

static uint64_t parent_of(const char *path) {
    char parent[PATH_MAX];
    strcpy(parent, path);
    *strrchr(parent, '/') = 0;
    return inode_of(parent);
}

static void put(struct record *record, const char *name, const char *other, const void *old) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/log-%llu", undo, (unsigned long long)record->inode);
    record->name_size = name == NULL ? 0 : strlen(name);
    record->other_size = other == NULL ? 0 : strlen(other);
    struct iovec parts[] = {{record, sizeof *record},
                            {(void *)name, record->name_size},
                            {(void *)other, record->other_size},
                            {(void *)old, record->old_size}};
    ssize_t size = sizeof *record + record->name_size + record->other_size + record->old_size;
    int log = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || REAL(writev)(log, parts, 4) != size) {
        fprintf(stderr, "powercut: cannot write %s\n", path);
        abort();
    }
    REAL(close)(log);
}

static void put_named(enum kind kind, const char *name, const char *other, uint64_t replaced) {
    struct record record = {.kind = kind, .inode = parent_of(name), .offset = replaced};
    if (replaced != 0) {
        char keep[PATH_MAX];
        snprintf(keep, sizeof keep, "%s/inode-%llu", undo, (unsigned long long)replaced);
        if (link(other == NULL ? name : other, keep) != 0 && errno != EEXIST) {
            fprintf(stderr, "powercut: cannot keep %s\n", name);
            abort();
        }
    }
    put(&record, name, other, NULL);
}

static int is_watched(int file) {
    return is_on && file >= 0 && file < FILES_MAX && watched[file];
}

/* -- room ----------------------------------------------------------------------------------------------------- */

static int is_full(uint64_t growth) {
    char path[PATH_MAX], text[32];
    if (growth == 0 || !is_said("limit", text, sizeof text))
        return 0;
    uint64_t total = growth;
    DIR *entries = opendir(directory);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        struct stat found;
        snprintf(path, sizeof path, "%.2000s/%.255s", directory, entry->d_name);
        if (lstat(path, &found) == 0 && S_ISREG(found.st_mode))
            total += found.st_size;
    }
    if (entries != NULL)
        closedir(entries);
    return total > strtoull(text, NULL, 10);
}

/* Remember what a change of `size` bytes at `offset` will replace; of what is behind `offset` if it cuts. -1: it fails. */
static int before_change(int file, off_t offset, size_t size, int cuts) {
    struct stat found;
    if (fstat(file, &found) != 0)
        return 0;
    if (is_broken())
        return -1;
    uint64_t end = offset + size, before = found.st_size;
    if (end > before && is_full(end - before)) {
        errno = ENOSPC;
        return -1;
    }
    uint64_t old_end = cuts || end > before ? before : end;
    uint64_t old_size = (uint64_t)offset < old_end ? old_end - offset : 0;
    char *old = malloc(old_size + 1), path[64];
    struct record record = {
        .kind = WRITTEN, .inode = found.st_ino, .offset = offset, .size = before, .old_size = old_size};
    snprintf(path, sizeof path, "/proc/self/fd/%d", file); /* it may be open for writing only */
    int reader = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (old == NULL || reader < 0 || REAL(pread)(reader, old, old_size, offset) != (ssize_t)old_size) {
        fprintf(stderr, "powercut: cannot read what is replaced\n");
        abort();
    }
    REAL(close)(reader);
    put(&record, NULL, NULL, old);
    free(old);
    return 0;
}

/* -- opening and closing -------------------------------------------------------------------------------------- */

static int opened(const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    if (!absolute(path, name))
        return REAL(open)(path, flags, mode);
    pthread_mutex_lock(&lock);
    if ((flags & O_ACCMODE) != O_RDONLY && is_broken()) {
        pthread_mutex_unlock(&lock);
        return -1;
    }
    if ((flags & O_CREAT) && inode_of(name) == 0) {
        die_if_due();
        put_named(CREATED, name, NULL, 0);
    }
    int file = REAL(open)(path, flags & ~O_TRUNC, mode);
    if (file >= 0 && file < FILES_MAX)
        watched[file] = 1;
    if (file >= 0 && (flags & O_TRUNC)) {
        before_change(file, 0, 0, 1);
        if (REAL(ftruncate)(file, 0) != 0)
            abort();
    }
    pthread_mutex_unlock(&lock);
    return file;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return opened(path, flags, mode);                                                                              \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
    int name(int at, const char *path, int flags, ...) {                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        if (at == AT_FDCWD || path[0] == '/')                                                                          \
            return opened(path, flags, mode);                                                                          \
        return REAL(openat)(at, path, flags, mode);                                                                    \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return opened(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

int close(int file) {
    if (is_watched(file))
        watched[file] = 0;
    return REAL(close)(file);
}

/* -- changing ------------------------------------------------------------------------------------------------- */

/* `partly` is the same call for `part` bytes: what is done of it when the process dies. */
#define CHANGING(file, offset, size, cuts, call, partly)                                                               \
    do {                                                                                                               \
        if (!is_watched(file))                                                                                         \
            return call;                                                                                               \
        pthread_mutex_lock(&lock);                                                                                     \
        ssize_t result = before_change(file, offset, size, cuts), part = result == 0 ? before_death(size) : -1;        \
        if (part > 0)                                                                                                  \
            result = partly;                                                                                           \
        if (part >= 0)                                                                                                 \
            die();                                                                                                     \
        if (result == 0)                                                                                               \
            result = call;                                                                                             \
        int error = errno;                                                                                             \
        pthread_mutex_unlock(&lock);                                                                                   \
        errno = error;                                                                                                 \
        return result;                                                                                                 \
    } while (0)

#define WHOLE(file, offset, size, cuts, call) CHANGING(file, offset, size, cuts, call, 0)

static size_t shortened(int file, size_t size) {
    char text[32];
    return is_watched(file) && size > 1 && is_said("short-writes", text, sizeof text) ? size / 2 : size;
}

static off_t write_offset(int file) {
    struct stat found;
    if (fcntl(file, F_GETFL) & O_APPEND)
        return fstat(file, &found) == 0 ? found.st_size : 0;
    return lseek(file, 0, SEEK_CUR);
}

static size_t total(const struct iovec *parts, int count) {
    size_t size = 0;
    for (int index = 0; index < count; index++)
        size += parts[index].iov_len;
    return size;
}

ssize_t write(int file, const void *from, size_t size) {
    size = shortened(file, size);
    CHANGING(file, write_offset(file), size, 0, REAL(write)(file, from, size), REAL(write)(file, from, part));
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    WHOLE(file, write_offset(file), total(parts, count), 0, REAL(writev)(file, parts, count));
}
ssize_t pwrite(int file, const void *from, size_t size, off_t offset) {
    size = shortened(file, size);
    CHANGING(file, offset, size, 0, REAL(pwrite)(file, from, size, offset), REAL(pwrite)(file, from, part, offset));
}
ssize_t pwrite64(int file, const void *from, size_t size, off64_t offset) {
    size = shortened(file, size);
    CHANGING(file, offset, size, 0, REAL(pwrite)(file, from, size, offset), REAL(pwrite)(file, from, part, offset));
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    WHOLE(file, offset, total(parts, count), 0, REAL(pwritev)(file, parts, count, offset));
}
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) {
    WHOLE(file, offset, total(parts, count), 0, REAL(pwritev)(file, parts, count, offset));
}
ssize_t pwritev2(int file, const struct iovec *parts, int count, off_t offset, int flags) {
    WHOLE(file, offset, total(parts, count), 0, REAL(pwritev2)(file, parts, count, offset, flags));
}
ssize_t pwritev64v2(int file, const struct iovec *parts, int count, off64_t offset, int flags) {
    WHOLE(file, offset, total(parts, count), 0, REAL(pwritev2)(file, parts, count, offset, flags));
}
int ftruncate(int file, off_t size) { WHOLE(file, size, 0, 1, REAL(ftruncate)(file, size)); }
int ftruncate64(int file, off64_t size) { WHOLE(file, size, 0, 1, REAL(ftruncate)(file, size)); }
int fallocate(int file, int mode, off_t offset, off_t size) {
    WHOLE(file, offset, size, 0, REAL(fallocate)(file, mode, offset, size));
}
int fallocate64(int file, int mode, off64_t offset, off64_t size) {
    WHOLE(file, offset, size, 0, REAL(fallocate)(file, mode, offset, size));
}

/* This one returns its error. */
static int allocated(int file, off_t offset, off_t size) {
    WHOLE(file, offset, size, 0, REAL(posix_fallocate)(file, offset, size));
}
int posix_fallocate(int file, off_t offset, off_t size) {
    int result = allocated(file, offset, size);
    return result == -1 ? errno : result;
}
int posix_fallocate64(int file, off64_t offset, off64_t size) { return posix_fallocate(file, offset, size); }

/* -- names ---------------------------------------------------------------------------------------------------- */

int unlink(const char *path) {
    char name[PATH_MAX];
    if (!absolute(path, name))
        return REAL(unlink)(path);
    if (is_broken())
        return -1;
    pthread_mutex_lock(&lock);
    die_if_due();
    uint64_t inode = inode_of(name);
    if (inode != 0)
        put_named(REMOVED, name, NULL, inode);
    int result = REAL(unlink)(path), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int unlinkat(int at, const char *path, int flags) {
    return at == AT_FDCWD && flags == 0 ? unlink(path) : REAL(unlinkat)(at, path, flags);
}

int rename(const char *from, const char *to) {
    char name[PATH_MAX], other[PATH_MAX];
    if (!absolute(from, name) || !absolute(to, other))
        return REAL(rename)(from, to);
    if (is_broken())
        return -1;
    pthread_mutex_lock(&lock);
    die_if_due();
    if (inode_of(name) != 0)
        put_named(RENAMED, name, other, inode_of(other));
    int result = REAL(rename)(from, to), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    return from_at == AT_FDCWD && to_at == AT_FDCWD ? rename(from, to) : REAL(renameat)(from_at, from, to_at, to);
}

/* -- syncing -------------------------------------------------------------------------------------------------- */

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_while_slow(void) {
    char text[32];
    for (long begun = now_ms(), left; is_said("slow-sync", text, sizeof text);) {
        left = begun + atol(text) - now_ms();
        if (left <= 0)
            return;
        struct timespec rest = {.tv_nsec = (left < 20 ? left : 20) * 1000000};
        nanosleep(&rest, NULL);
    }
}

static int synced(int file) {
    char path[PATH_MAX], text[32];
    struct stat found;
    wait_while_slow();
    if (is_said("fail-sync", text, sizeof text)) {
        snprintf(path, sizeof path, "%s/fail-sync", undo);
        if (strncmp(text, "once", 4) == 0)
            REAL(unlink)(path);
        errno = EIO;
        return -1;
    }
    if (!is_said("lie", text, sizeof text) && fstat(file, &found) == 0) {
        snprintf(path, sizeof path, "%s/log-%llu", undo, (unsigned long long)found.st_ino);
        pthread_mutex_lock(&lock);
        REAL(unlink)(path);
        pthread_mutex_unlock(&lock);
    }
    return 0; /* without the real one: only these logs lose anything here */
}

int fsync(int file) { return is_watched(file) ? synced(file) : REAL(fsync)(file); }
int fdatasync(int file) { return is_watched(file) ? synced(file) : REAL(fdatasync)(file); }
