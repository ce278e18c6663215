# What the guest of guest.rs does: first boot, second boot, told apart by what is on the disk.
set -e

queue=/sys/block/${disk#/dev/}/queue

drop_caches() {
    sync
    echo 3 > /proc/sys/vm/drop_caches
}

sums() {
    (cd /mnt && sha256sum "$@" | sha256sum | cut -d' ' -f1)
}

fsck() {
    /sbin/e2fsck -fn "$disk" > /tmp/fsck 2>&1 && echo "FSCK clean" || { cat /tmp/fsck; echo "FSCK failed"; exit 1; }
}

describe() {
    echo "DISK bytes=$(blockdev --getsize64 "$disk")"
    echo "DISK queues=$(ls "/sys/block/${disk#/dev/}/mq" | wc -l)"
    echo "DISK packed=$(cut -c35 "/sys/block/${disk#/dev/}/device/features")"
    echo "DISK readonly=$(blockdev --getro "$disk")"
    echo "DISK discard_max=$(cat "$queue/discard_max_bytes")"
    echo "DISK zeroes_max=$(cat "$queue/write_zeroes_max_bytes")"
}

# Both processors at once, so that both queues are used.
write_files() {
    for cpu in 0 1; do
        taskset -c $cpu sh -c "for n in 1 2 3; do dd if=/dev/urandom of=/mnt/$cpu.\$n bs=64k count=48 status=none; done" &
    done
    wait
}

first_boot() {
    describe
    # Inode tables are zeroed now, by write-zeroes requests.
    /sbin/mke2fs -q -F -t ext4 -E lazy_itable_init=0 "$disk"
    mount -t ext4 "$disk" /mnt
    write_files
    drop_caches
    sums 0.1 0.2 0.3 1.1 1.2 1.3 > /tmp/sums
    echo "FILES written=$(cat /tmp/sums)"
    umount /mnt
    drop_caches
    mount -t ext4 "$disk" /mnt
    echo "FILES read=$(sums 0.1 0.2 0.3 1.1 1.2 1.3)"
    umount /mnt
    fsck
    drop_caches
    reboot -f
}

second_boot() {
    fsck
    mount -t ext4 "$disk" /mnt
    echo "FILES read=$(sums 0.1 0.2 0.3 1.1 1.2 1.3)"
    expected=$(sums 0.1 1.2)
    rm /mnt/0.2 /mnt/0.3 /mnt/1.1 /mnt/1.3
    sync
    echo "TRIMMED bytes=$(fstrim -v /mnt | sed 's/[^0-9]*\([0-9]*\) bytes.*/\1/')"
    drop_caches
    echo "FILES kept=$(sums 0.1 1.2)"
    echo "FILES expected=$expected"
    umount /mnt
    drop_caches
    echo "WAITING"
    read -r _
    drop_caches
    mount -t ext4 "$disk" /mnt
    dd if=/dev/urandom of=/mnt/after bs=64k count=16 status=none
    umount /mnt
    drop_caches
    fsck
}

# The magic number of ext4's superblock.
if [ "$(dd if="$disk" bs=1 skip=1080 count=2 status=none | od -An -tx2 | tr -d ' ')" = ef53 ]; then
    second_boot
else
    first_boot
fi
