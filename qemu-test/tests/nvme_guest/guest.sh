# What the guest of nvme_guest does with the NVMe controllers at 0000:01:00.0 and 0000:02:00.0, which share their
# namespaces.

# Name of the driver's controller at a PCI address.
controller_at() {
    ls "/sys/bus/pci/devices/$1/nvme" 2> /dev/null
}

# Device of a controller's namespace. Linux numbers them as it finds them, and that in any order.
namespace() {
    for found in "/sys/class/nvme/$1/$1"n*; do
        [ "$(cat "$found/nsid" 2> /dev/null)" != "$2" ] || echo "/dev/${found##*/}"
    done
}

address=0000:01:00.0

# Names everything anew, and waits for the namespaces that there are from the beginning.
find_disks() {
    name=$(controller_at $address)
    other_name=$(controller_at 0000:02:00.0)
    ctrl=/dev/$name
    other=/dev/$other_name
    until_true namespace_is_there 1
    until_true namespace_is_there 2
    disk=$(namespace "$name" 1)
    spare=$(namespace "$name" 2)
    theirs=$(namespace "$other_name" 2)
    block=$(blockdev --getss "$spare")
}

# Field of nvme-cli's lines of the form `name : value`.
field() {
    sed -n "s/^$1[ \t]*: *//p" | sed 's/[ ,].*//'
}

# With an IOMMU in the machine: each transfer is mapped before it, and unmapped afterwards.
translated() {
    [ "$(cat "/sys/bus/pci/devices/$address/iommu_group/type")" = DMA ]
    begin=$(centiseconds)
    before=$(fill "$spare" 0 64)
    middle=$(centiseconds)
    [ "$(hash_of "$spare" 0 64)" = "$before" ]
    end=$(centiseconds)
    echo "64 KiB take $(((middle - begin) * 10 / 64)) ms to write, $(((end - middle) * 10 / 64)) ms to read"
}

# Time since the start of the kernel.
centiseconds() {
    sed 's/ .*//; s/\.//' /proc/uptime
}

identify() {
    nvme id-ctrl "$ctrl" > /tmp/ctrl
    cat /tmp/ctrl
    [ "$(field sn < /tmp/ctrl)" = "$(tr -d ' ' < "/sys/class/nvme/$name/serial")" ]
    mdts=$(field mdts < /tmp/ctrl)
    [ "$mdts" -eq 0 ] || [ "$mdts" -ge 8 ]
    nvme id-ns "$disk" > /tmp/ns
    cat /tmp/ns
    bytes=$(($(field nsze < /tmp/ns) << 9))
    [ "$bytes" = "$(blockdev --getsize64 "$disk")" ]
    nvme list-ns "$ctrl" | grep -q '0x1$'
    nvme ns-descs "$disk"
    # One beyond those that exist: zeroes if it may exist, else no namespace at all.
    nn=$(field nn < /tmp/ctrl)
    refused 'INVALID_NS\|Invalid Namespace' nvme id-ns "$ctrl" -n $((nn + 1))
    [ "$nn" -lt 9 ] || [ "$(nvme id-ns "$ctrl" -n "$nn" | field nsze)" = 0 ]
    nvme list > /tmp/list
    cat /tmp/list
    for found in "$disk" "$spare"; do
        grep "^$found " /tmp/list | grep -q "$(tr -d ' ' < "/sys/class/nvme/$name/serial")"
    done
}

registers() {
    nvme show-regs "$ctrl" -H > /tmp/registers
    grep '^\(cap\|version\|cc\|csts\|aqa\|crto\)' /tmp/registers
    grep -q 'Ready  *(RDY): Yes' /tmp/registers
    grep -q 'Controller Fatal Status  *(CFS): False' /tmp/registers
}

queues() {
    [ "$(ls "/sys/block/${disk#/dev/}/mq" | wc -l)" = 2 ]
    [ "$(cat "/sys/block/${disk#/dev/}/queue/max_hw_sectors_kb")" -ge 1024 ]
    for cpu in 0 1; do
        taskset -c $cpu dd if="$disk" of=/dev/null bs=64k count=64 iflag=direct status=none
    done
    grep "$name" /proc/interrupts
    for queue in 0 1 2; do
        [ "$(awk "/${name}q$queue\$/ { print \$2 + \$3 }" /proc/interrupts)" -gt 0 ]
    done
}

# Discards and zeroes the middle of 48 blocks of 64 KiB.
ranges() {
    for clear in "blkdiscard -o 1048576 -l 1048576" "nvme write-zeroes -s $((1048576 / block)) -c $((1048576 / block - 1)) --deac"; do
        fill "$spare" 0 48
        front=$(hash_of "$spare" 0 16)
        back=$(hash_of "$spare" 32 16)
        $clear "$spare"
        [ "$(hash_of "$spare" 0 16)" = "$front" ]
        [ "$(hash_of "$spare" 16 16)" = "$(zeroes 16)" ]
        [ "$(hash_of "$spare" 32 16)" = "$back" ]
    done
    nvme dsm "$spare" -s 0,100 -b 8,8 -d
    [ "$(hash_of "$spare" 32 16)" = "$back" ]
}

data_units() {
    nvme smart-log "$ctrl" | field "Data Units $1"
}

# Counts of the SMART log grow by what is written and read: 3 MiB are six units of 512,000 bytes and a bit.
health() {
    nvme smart-log "$ctrl"
    read=$(data_units Read)
    written=$(data_units Written)
    fill "$spare" 0 48
    hash_of "$spare" 0 48
    [ $(($(data_units Read) - read)) -ge 6 ]
    [ $(($(data_units Written) - written)) -ge 6 ]
    [ $(($(data_units Written) - written)) -le 8 ]
    [ "$(nvme smart-log "$ctrl" | field critical_warning)" = 0 ]
}

# A command that fails leaves an entry in the error log and counts.
errors() {
    count=$(nvme smart-log "$ctrl" | field num_err_log_entries)
    end=$(($(blockdev --getsize64 "$spare") / block))
    refused 'LBA Out of Range\|LBA_RANGE' nvme read "$spare" -s "$end" -c 0 -z "$block" -d /tmp/read
    nvme error-log "$ctrl" -e 4
    [ "$(nvme smart-log "$ctrl" | field num_err_log_entries)" = $((count + 1)) ]
    nvme error-log "$ctrl" -e 1 | grep -qi 'LBA Out of Range\|LBA_RANGE'
    [ "$(nvme error-log "$ctrl" -e 1 | field error_count)" = $((count + 1)) ]
}

feature() {
    nvme get-feature "$ctrl" -f "$1" | sed 's/.*Current value: *//'
}

features() {
    for id in 1 2 4 6 7 8 9 10 11; do
        nvme get-feature "$ctrl" -f $id -H
    done
    nvme get-feature "$ctrl" -f 5 -n 1 -H
    [ $(($(feature 7) & 0xffff)) -ge 1 ]
    for value in 0 1; do
        nvme set-feature "$ctrl" -f 6 -V $value
        [ $(($(feature 6))) = $value ]
    done
    nvme set-feature "$ctrl" -f 4 -V 0x160
    [ $(($(feature 4))) = $((0x160)) ]
    refused 'Invalid Field\|INVALID_FIELD' nvme get-feature "$ctrl" -f 0x7f
}

# Whatever may be asked is answered, or refused, at once.
sweep() {
    for number in $(seq 0 15) 128 129 130; do
        nvme admin-passthru "$ctrl" -O 0x06 -n 1 --cdw10="$number" -l 4096 -r > /dev/null || true
        nvme get-log "$ctrl" -i "$number" -l 512 > /dev/null || true
        nvme get-feature "$ctrl" -f "$number" -n 1 > /dev/null || true
    done
    refused 'Invalid Opcode\|Invalid Command Opcode' nvme io-passthru "$spare" -n 2 -O 0x7f
    refused 'Invalid Opcode\|Invalid Command Opcode' nvme admin-passthru "$ctrl" -O 0x3f
    is_live
    ! dmesg | grep -i "$name.*\(timeout\|abort\|reset\)"
}

# Commands that the driver does not use, on the second namespace.
commands() {
    fill "$spare" 0 16
    nvme flush "$spare"
    nvme verify "$spare" -s 0 -c 15
    head -c "$block" /tmp/fill > /tmp/same
    tr '\0-\377' '\1-\377\0' < /tmp/same > /tmp/different
    nvme compare "$spare" -s 0 -c 0 -z "$block" -d /tmp/same
    refused 'Compare Failure\|COMPARE_FAILED' nvme compare "$spare" -s 0 -c 0 -z "$block" -d /tmp/different
    nvme write "$spare" -s 3 -c 0 -z "$block" -d /tmp/different -f
    nvme read "$spare" -s 3 -c 0 -z "$block" -d /tmp/back
    cmp /tmp/back /tmp/different
    # Blocks 3, 0 and 1 are copied to where 64 to 66 are.
    nvme copy "$spare" -d 64 -s 3,0 -b 0,1
    dd if="$spare" of=/tmp/copied bs="$block" skip=64 count=3 iflag=direct
    head -c $((2 * block)) /tmp/fill | cat /tmp/different - | cmp - /tmp/copied
}

is_live() {
    [ "$(cat "/sys/class/nvme/$name/state")" = live ]
}

# A controller reset, and a reset of the PCI function, under load: nothing fails.
reset() {
    begin_load
    for _ in 1 2 3; do
        nvme reset "$ctrl"
        until_true is_live
    done
    echo 1 > "/sys/bus/pci/devices/$address/reset"
    until_true is_live
    end_load
}

# NVM Subsystem Reset is not offered: the driver refuses it, and the controller goes on.
subsystem_reset() {
    before=$(fill "$spare" 0 16)
    refused '' nvme subsystem-reset "$ctrl"
    is_live
    [ "$(hash_of "$spare" 0 16)" = "$before" ]
}

format() {
    fill "$spare" 0 16
    nvme format "$spare" --lbaf=0 --ses=1 --force
    [ "$(hash_of "$spare" 0 16)" = "$(zeroes 16)" ]
    fill "$spare" 0 16
}

# The driver is taken away while files are written, and comes back.
unbind() {
    begin_load
    echo "$address" > /sys/bus/pci/drivers/nvme/unbind
    rm -f /tmp/load
    wait $worker || true
    [ ! -e "$disk" ]
    # The load has written to a file of that name.
    rm -f "$spare"
    echo "$address" > /sys/bus/pci/drivers/nvme/bind
    find_disks
    dd if=/tmp/load.data of="$spare" bs=64k oflag=direct conv=notrunc status=none
    [ "$(hash_of "$spare" 0 16)" = "$(hash < /tmp/load.data)" ]
}

# Lets a driver have the controller.
bind_to() {
    echo "$address" > "/sys/bus/pci/devices/$address/driver/unbind"
    echo "$1" > "/sys/bus/pci/devices/$address/driver_override"
    echo "$address" > /sys/bus/pci/drivers_probe
    [ "$(basename "$(readlink "/sys/bus/pci/devices/$address/driver")")" = "$1" ]
}

get() {
    devmem $(($1)) 32
}

put() {
    devmem $(($1)) 32 $(($2))
}

# Whether the completion at $ended has been posted.
has_ended() {
    [ $(($(get "$ended") >> 16 & 1)) = 1 ]
}

# Sends a command on queue $1 and polls for its end: opcode, namespace, PRP1, CDW10, CDW11. The submission queue $1 is
# at $memory + $1 * 8192, and its completion queue in the page after it.
polled() {
    eval "number=\${count_$1:-0}"
    entry=$((memory + $1 * 8192 + number * 64))
    ended=$((memory + $1 * 8192 + 4096 + number * 16 + 12))
    put $ended 0
    for offset in $(seq 8 4 60); do
        put $((entry + offset)) 0
    done
    put $entry $(($2 | number << 16))
    put $((entry + 4)) "$3"
    put $((entry + 24)) "$4"
    put $((entry + 40)) "$5"
    put $((entry + 44)) "$6"
    eval "count_$1=$((number + 1))"
    put $((bar + 4096 + $1 * stride * 2)) $((number + 1))
    until_true has_ended
    [ $(($(get $ended) >> 17)) = 0 ]
}

# First four bytes of the second namespace.
first_word() {
    dd if="$spare" bs=4096 count=1 iflag=direct status=none | head -c 4 | od -A n -t x4 | tr -d ' '
}

# A driver of user space that polls: the controller is bound to uio_pci_generic, and its registers and queues are used by
# /dev/mem. The queues are in memory that the kernel leaves alone. There is no interrupt line.
polling() {
    fill "$spare" 0 1
    before=$(first_word)
    bind_to uio_pci_generic
    bind_to nvme
    bind_to uio_pci_generic
    [ -e "/sys/bus/pci/devices/$address/uio/uio0" ]
    [ "$(cat "/sys/bus/pci/devices/$address/irq")" = 0 ]
    dmesg | grep 'uio_pci_generic.*No IRQ assigned'
    memory=$((0x8000000))
    data=$((memory + 0x8000))
    bar=$(($(sed -n '1s/ .*//p' "/sys/bus/pci/devices/$address/resource")))
    stride=$((4 << ($(get $((bar + 4))) & 15)))
    printf '\006' | dd of="/sys/bus/pci/devices/$address/config" bs=1 seek=4 conv=notrunc status=none
    # The kernel's driver has shut it down, and has not disabled it.
    put $((bar + 0x14)) 0x460000
    until_true is_disabled
    put $((bar + 0x24)) 0x70007
    put $((bar + 0x28)) $memory
    put $((bar + 0x2c)) 0
    put $((bar + 0x30)) $((memory + 4096))
    put $((bar + 0x34)) 0
    put $((bar + 0x14)) 0x460001
    until_true is_ready
    # Identify: the serial number begins with LUGE.
    polled 0 0x06 0 $data 1 0
    [ $(($(get $((data + 4))))) = $((0x4547554c)) ]
    polled 0 0x05 0 $((memory + 0x3000)) 0x70001 1
    polled 0 0x01 0 $((memory + 0x2000)) 0x70001 0x10001
    polled 1 0x02 2 $data 0 0
    [ $(($(get $data))) = $((0x$before)) ]
    put $data 0x12345678
    polled 1 0x01 2 $data 0 0
    put $((bar + 0x14)) 0x460000
    bind_to nvme
    find_disks
    [ "$(first_word)" = 12345678 ]
}

is_disabled() {
    [ $(($(get $((bar + 0x1c))) & 1)) = 0 ]
}

is_ready() {
    [ $(($(get $((bar + 0x1c))) & 1)) = 1 ]
}

host_identifier() {
    printf "$2%.0s" $(seq 16) > /tmp/host
    nvme set-feature "$1" -f 0x81 -V 1 -l 16 -d /tmp/host
}

write_one() {
    nvme write "$1" -s 0 -c 0 -z "$block" -d /tmp/same
}

read_one() {
    nvme read "$1" -s 0 -c 0 -z "$block" -d /tmp/back
}

# A virtio disk of the second namespace's volume, whose front end cannot register, and the first host.
virtio_reservations() {
    head -c "$block" /dev/urandom > /tmp/same
    host_identifier "$ctrl" A
    nvme resv-register "$spare" --nrkey=0xa1 --rrega=0
    nvme resv-acquire "$spare" --crkey=0xa1 --rtype=1 --racqa=0
    write_one "$spare"
    virtio_read
    cmp /tmp/same /tmp/virtio
    refused 'Input/output error' virtio_write
    nvme resv-acquire "$spare" --crkey=0xa1 --prkey=0xa1 --rtype=2 --racqa=1
    refused 'Input/output error' virtio_read
    refused 'Input/output error' virtio_write
    read_one "$spare"
    cmp /tmp/same /tmp/back
    nvme resv-release "$spare" --crkey=0xa1 --rtype=2 --rrela=0
    virtio_write
    read_one "$spare"
    cmp /tmp/other /tmp/back
    nvme resv-register "$spare" --crkey=0xa1 --rrega=1
}

virtio_read() {
    dd if=/dev/vda of=/tmp/virtio bs="$block" count=1 iflag=direct
}

virtio_write() {
    head -c "$block" /dev/urandom > /tmp/other
    dd if=/tmp/other of=/dev/vda bs="$block" count=1 conv=notrunc,fsync
}

# Two hosts and one namespace: each has a controller.
reservations() {
    head -c "$block" /dev/urandom > /tmp/same
    host_identifier "$ctrl" A
    host_identifier "$other" B
    nvme resv-register "$spare" --nrkey=0xa1 --rrega=0
    nvme resv-register "$theirs" --nrkey=0xb2 --rrega=0
    nvme resv-acquire "$spare" --crkey=0xa1 --rtype=1 --racqa=0
    nvme resv-report "$theirs" -e > /tmp/report
    cat /tmp/report
    [ "$(field regctl < /tmp/report)" = 2 ]
    [ "$(field rtype < /tmp/report)" = 1 ]
    write_one "$spare"
    read_one "$theirs"
    refused 'Reservation Conflict' write_one "$theirs"
    refused 'Reservation Conflict' nvme resv-acquire "$theirs" --crkey=0xb2 --rtype=1 --racqa=0
    nvme resv-acquire "$theirs" --crkey=0xb2 --prkey=0xa1 --rtype=2 --racqa=1
    refused 'Reservation Conflict' read_one "$spare"
    write_one "$theirs"
    nvme resv-release "$theirs" --crkey=0xb2 --rtype=2 --rrela=0
    write_one "$spare"
    nvme resv-register "$theirs" --crkey=0xb2 --rrega=1
    nvme resv-report "$spare" -e > /tmp/report
    [ "$(field regctl < /tmp/report)" = 0 ]
}

namespace_is_there() {
    [ -b "$(namespace "$name" "$1")" ]
}

namespace_is_gone() {
    [ -z "$(namespace "$name" "$1")" ]
}

# A namespace comes, grows and goes; the driver is told, and nvme-cli's rescan changes nothing more.
live() {
    ask add
    until_true namespace_is_there 3
    third=$(namespace "$name" 3)
    bytes=$(blockdev --getsize64 "$third")
    before=$(fill "$third" 0 16)
    ask grow
    until_true bytes_are "$third" $((2 * bytes))
    nvme ns-rescan "$ctrl"
    bytes_are "$third" $((2 * bytes))
    [ "$(hash_of "$third" 0 16)" = "$before" ]
    fill "$third" $(((bytes >> 16) - 1)) 2
    ask remove
    until_true namespace_is_gone 3
    nvme ns-rescan "$ctrl"
    [ "$(nvme list-ns "$ctrl" | grep -c ':0x')" = 2 ]
}

# The firmware has loaded kernel and initramfs from this disk.
booted_by_firmware() {
    ls -d /sys/firmware/efi
    dd if="$disk" bs=512 skip=1 count=1 status=none | grep -q 'EFI PART'
    hash_of "$disk" 0 64
}

take_steps
