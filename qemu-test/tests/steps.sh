# Functions that the steps of guests share. A guest's own script follows this one: it sets `disk`, the disk with the
# file system, and `spare`, one without, in `find_disks`, and ends with `take_steps`.
#
# Parameter of the kernel's command line: `steps=a,b,...`, functions in their order. Each says `STEP name ok`, or
# `STEP name failed` after its trace. Where the disk has a file system already, the guest was there before, and
# takes the steps of the parameter `again`.

dmesg -n 1
# The console, for what a step has to say meanwhile.
exec 3>&1

parameter() {
    tr ' ' '\n' < /proc/cmdline | sed -n "s/^$1=//p"
}

drop_caches() {
    sync
    echo 3 > /proc/sys/vm/drop_caches
}

# Fails unless the command fails with a status of that text.
refused() {
    status=$1
    shift
    if "$@" > /tmp/refused 2>&1; then
        cat /tmp/refused
        return 1
    fi
    cat /tmp/refused
    grep -q "$status" /tmp/refused
}

hash() {
    sha256sum | cut -d' ' -f1
}

# Hash of $3 blocks of 64 KiB of $1 from block $2 on.
hash_of() {
    dd if="$1" bs=64k skip="$2" count="$3" iflag=direct status=none | hash
}

# Random bytes into $3 blocks of 64 KiB of $1 from block $2 on; prints their hash.
fill() {
    dd if=/dev/urandom of=/tmp/fill bs=64k count="$3" status=none
    dd if=/tmp/fill of="$1" bs=64k seek="$2" oflag=direct conv=notrunc status=none
    hash < /tmp/fill
}

zeroes() {
    head -c $(($1 << 16)) /dev/zero | hash
}

# Waits up to 20 s until a command succeeds.
until_true() {
    { case $- in *x*) traced=yes ;; *) traced= ;; esac; set +x; } 2> /dev/null
    tries=200
    until "$@" 2> /dev/null; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || break
        sleep 0.1
    done
    [ -z "$traced" ] || set -x
    [ $tries -gt 0 ]
}

# Asks the host for something, and waits until it is done.
ask() {
    echo "WANTED $1" >&3
    read -r _
}

# Writes and compares as long as /tmp/load exists; a block device that fails, or gives back other data, ends it.
load() {
    (
        set -e
        dd if=/dev/urandom of=/tmp/load.data bs=64k count=16 status=none
        while [ -e /tmp/load ]; do
            dd if=/tmp/load.data of="$1" bs=64k oflag=direct conv=notrunc status=none
            dd if="$1" of=/tmp/load.back bs=64k count=16 iflag=direct status=none
            cmp /tmp/load.data /tmp/load.back
            echo . >> /tmp/load.rounds
        done
    ) &
    worker=$!
}

begin_load() {
    rm -f /tmp/load.rounds
    touch /tmp/load
    load "$spare"
    until_true test -s /tmp/load.rounds
}

# Waits until the load has made more rounds, and ends it; fails if it had to stop.
end_load() {
    rounds=$(wc -l < /tmp/load.rounds)
    until_true more_rounds_than "$rounds"
    rm /tmp/load
    wait $worker
}

more_rounds_than() {
    [ "$(wc -l < /tmp/load.rounds)" -gt $(($1 + 2)) ]
}

bytes_are() {
    [ "$(blockdev --getsize64 "$1")" = "$2" ]
}

booted_by_bios() {
    [ ! -e /sys/firmware/efi ]
    dd if="$disk" bs=512 count=1 status=none | grep -q GRUB
    hash_of "$disk" 0 64
}

# Both processors write files of a file system, which are read back from the disk.
files() {
    /sbin/mke2fs -q -F -t ext4 -E lazy_itable_init=0 "$disk"
    mount -t ext4 "$disk" /mnt
    for cpu in 0 1; do
        taskset -c $cpu sh -c "for n in 1 2 3; do dd if=/dev/urandom of=/mnt/$cpu.\$n bs=64k count=16; done" &
    done
    wait
    before=$(cat /mnt/?.? | hash)
    umount /mnt
    drop_caches
    mount -t ext4 "$disk" /mnt
    [ "$(cat /mnt/?.? | hash)" = "$before" ]
    rm /mnt/?.2
    before=$(cat /mnt/?.? | hash)
    sync
    fstrim -v /mnt
    drop_caches
    [ "$(cat /mnt/?.? | hash)" = "$before" ]
    umount /mnt
    /sbin/e2fsck -fn "$disk"
}

# What is written by one way to a disk is read by the other one, `theirs`.
shared() {
    before=$(fill "$spare" 0 16)
    [ "$(hash_of "$theirs" 0 16)" = "$before" ]
    before=$(fill "$theirs" 0 16)
    [ "$(hash_of "$spare" 0 16)" = "$before" ]
}

# Files with their hashes, each synced before the next, for as long as the machine runs.
sync_files() {
    mount -t ext4 "$disk" /mnt
    n=1
    while true; do
        dd if=/dev/urandom of="/mnt/synced.$n" bs=16k count=8 conv=fsync status=none
        hash < "/mnt/synced.$n" > /tmp/sum
        dd if=/tmp/sum of="/mnt/synced.$n.hash" conv=fsync status=none
        echo "SYNCED $n" >&3
        n=$((n + 1))
    done
}

# Whether all files whose hashes were synced are whole.
check_synced() {
    mount -t ext4 "$disk" /mnt
    ls -l /mnt
    for hashed in /mnt/synced.*.hash; do
        [ ! -s "$hashed" ] || [ "$(hash < "${hashed%.hash}")" = "$(cat "$hashed")" ]
    done
    [ -s /mnt/synced.2.hash ]
    rm /mnt/synced.*
    umount /mnt
    /sbin/e2fsck -fn "$disk"
}

# Writes files until the machine ends.
write_until_killed() {
    sync_files
}

# Resets the machine while files are written.
reboot_under_load() {
    sync_files &
    until_true test -s /mnt/synced.3.hash
    reboot -f
}

step() {
    (find_disks; set -ex; "$1") > /tmp/trace 2>&1
    status=$?
    [ $status = 0 ] || tail -n 60 /tmp/trace
    [ $status = 0 ] || dmesg | tail -n 20
    [ $status = 0 ] && echo "STEP $1 ok" || echo "STEP $1 failed"
}

# The magic number of ext4's superblock.
has_files() {
    [ "$(dd if="$disk" bs=1 skip=1080 count=2 status=none | od -An -tx2 | tr -d ' ')" = ef53 ]
}

take_steps() {
    find_disks
    has_files && list=again || list=steps
    for name_of_step in $(parameter $list | tr ',' ' '); do
        step "$name_of_step"
    done
}
