# What the guest of crashes.rs does: both processors write and read back, past the page cache, until it is
# told that it is enough.
set -e

drop_caches() {
    sync
    echo 3 > /proc/sys/vm/drop_caches
}

# Writes new data again and again, and compares what it reads. Says so for each round.
work() {
    while [ ! -e /tmp/enough ]; do
        dd if=/dev/urandom of="/tmp/$1" bs=64k count=16 status=none
        dd if="/tmp/$1" of="/mnt/$1" bs=16k oflag=direct conv=notrunc,fsync status=none
        dd if="/mnt/$1" of="/tmp/$1.back" bs=16k iflag=direct status=none
        cmp -s "/tmp/$1" "/tmp/$1.back" && echo "ROUND right" || echo "ROUND wrong" | tee -a /tmp/wrong
    done
}

# SCSI disks come a moment later than the others.
until [ -b "$disk" ]; do sleep 0.1; done
/sbin/mke2fs -q -F -t ext4 "$disk"
mount -t ext4 "$disk" /mnt
for cpu in 0 1; do
    for file in a b c; do
        work $cpu.$file &
        taskset -pc $cpu $! > /dev/null
    done
done
read -r _
touch /tmp/enough
wait
echo "WRONG $(cat /tmp/wrong 2> /dev/null | wc -l)"
# The files as the workers have left them.
for file in 0.a 0.b 0.c 1.a 1.b 1.c; do
    drop_caches
    cmp -s "/tmp/$file" "/mnt/$file" && echo "FILE right" || echo "FILE wrong"
done
umount /mnt
drop_caches
/sbin/e2fsck -fn "$disk" > /tmp/fsck 2>&1 && echo "FSCK clean" || { cat /tmp/fsck; echo "FSCK failed"; }
echo "ERRORS $(dmesg | grep -ciE 'I/O error|is not a head|blocked for more than' || true)"
