#!/bin/sh
# Makes luge.img of Buildroot's kernel: a disk with one EFI system partition, from which UEFI starts the kernel, laid out
# as `cargo image` does it. Buildroot passes the folder of images and has its own tools in PATH.
set -eu

images=$1
program=$images/bzImage
partition=$images/luge-esp.vfat
disk=$images/luge.img
mib=1048576

# 1 January 1980, the earliest time that FAT can express.
export SOURCE_DATE_EPOCH=315532800

identity=$(sha256sum "$program" | cut -c 1-32)
part() { echo "$identity" | cut -c "$1"; }
guid() { echo "$(part 1-8)-$(part 9-12)-8$(part 13-15)-8000-$(part 16-19)0000000$1"; }

size=$(($(wc -c < "$program") * 2 / mib + 65))
rm -f "$partition" "$disk"
truncate -s "${size}M" "$partition"
mkfs.fat -F 32 -n LUGE --invariant -i "$(part 1-8)" "$partition" > "$images/luge-mkfs.log"
mmd -i "$partition" ::/EFI ::/EFI/BOOT
mcopy -i "$partition" "$program" ::/EFI/BOOT/BOOTX64.EFI

truncate -s "$((size + 2))M" "$disk"
dd if="$partition" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
sgdisk --clear "--new=1:2048:$(((size + 1) * 2048 - 1))" --typecode=1:ef00 --change-name=1:luge-esp \
    "--disk-guid=$(guid 1)" "--partition-guid=1:$(guid 2)" "$disk" > "$images/luge-sgdisk.log"
sgdisk --verify "$disk" >> "$images/luge-sgdisk.log"
rm -f "$partition" "$images/luge-mkfs.log" "$images/luge-sgdisk.log"
echo "image: $disk"
