# What the guest of ranges.rs does to each of its disks.
set -e

topology() {
    for size in logical_block_size physical_block_size minimum_io_size optimal_io_size discard_granularity; do
        echo "$1 $size=$(cat "/sys/block/$1/queue/$size")"
    done
    echo "$1 discard_max_bytes=$(cat "/sys/block/$1/queue/discard_max_bytes")"
    echo "$1 write_zeroes_max_bytes=$(cat "/sys/block/$1/queue/write_zeroes_max_bytes")"
}

drop_caches() {
    sync
    echo 3 > /proc/sys/vm/drop_caches
}

sum() {
    md5sum | cut -d' ' -f1
}

discard_all() {
    yes "not a zero" | head -c "$bytes" > "/dev/$1"
    drop_caches
    blkdiscard "/dev/$1"
    drop_caches
    echo "$1 discarded=$(sum < "/dev/$1")"
    echo "$1 zeroes=$(head -c "$bytes" /dev/zero | sum)"
}

# The file system is made on a disk full of other bytes: what it takes for zeroes must have been zeroed.
use_files() {
    yes "not a zero" | head -c "$bytes" > "/dev/$1"
    drop_caches
    /sbin/mke2fs -q -F -t ext4 -E discard,lazy_itable_init=0,lazy_journal_init=0 "/dev/$1"
    mount -t ext4 "/dev/$1" /mnt
    dd if=/dev/urandom of=/mnt/gone bs=64k count=128 status=none
    dd if=/dev/urandom of=/mnt/kept bs=64k count=16 status=none
    kept=$(sum < /mnt/kept)
    rm /mnt/gone
    sync
    echo "$1 trimmed=$(fstrim -v /mnt | sed 's/[^0-9]*\([0-9]*\) bytes.*/\1/')"
    drop_caches
    [ "$(sum < /mnt/kept)" = "$kept" ] && echo "$1 kept=yes" || echo "$1 kept=no"
    umount /mnt
    drop_caches
    /sbin/e2fsck -fn "/dev/$1" > /tmp/fsck 2>&1 && echo "$1 fsck=clean" || cat /tmp/fsck
}

for name in vda vdb; do
    bytes=$(blockdev --getsize64 "/dev/$name")
    topology $name
    discard_all $name
    use_files $name
done
echo "ERRORS $(dmesg | grep -c 'I/O error' || true)"
