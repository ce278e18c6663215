# What the guest of resize.rs does: it uses both disks, and waits until they have become larger.
set -e

size=/sys/block

# A file system that is mounted while its disk grows.
/sbin/mke2fs -q -F -t ext4 /dev/vda
mount -t ext4 /dev/vda /mnt
head -c 1048576 /dev/urandom > /mnt/file
before=$(md5sum < /mnt/file)
for name in vda vdb; do
    echo "$name before=$(cat $size/$name/size)"
done
echo "WAITING"
for name in vda vdb; do
    while [ "$(cat $size/$name/size)" = 65536 ]; do sleep 0.1; done
    echo "$name after=$(cat $size/$name/size)"
    # The last mebibyte is there, and holds what is written to it.
    last=$(($(cat $size/$name/size) / 2048 - 1))
    head -c 1048576 /dev/urandom > /tmp/last
    dd if=/tmp/last of=/dev/$name bs=1M seek=$last oflag=direct status=none
    dd if=/dev/$name bs=1M skip=$last count=1 iflag=direct status=none | cmp - /tmp/last && echo "$name last=same"
done
sync
echo 3 > /proc/sys/vm/drop_caches
[ "$(md5sum < /mnt/file)" = "$before" ] && echo "FILE same"
umount /mnt
/sbin/e2fsck -fn /dev/vda > /tmp/fsck 2>&1 && echo "FSCK clean" || cat /tmp/fsck
echo "ERRORS $(dmesg | grep -c 'I/O error' || true)"
