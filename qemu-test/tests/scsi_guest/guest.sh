# What the guest of scsi_guest does with two host bus adapters. The first one, at 0000:00:18.0, has
#
#   target 0, LUN 0   a file                                   disk
#   target 1, LUN 0   memory                                   spare
#   target 1, LUN 1   memory in blocks of 4096 bytes           large
#
# and the second one, at 0000:00:19.0, has at target 0, LUN 0 the memory that is `spare`, too: `theirs`.

first=0000:00:18.0
second=0000:00:19.0

# Device of a LUN: adapter, target, LUN.
lun() {
    for found in "/sys/bus/pci/devices/$1"/virtio*/host*/target*/*:*:"$2:$3"/block/*; do
        [ ! -e "$found" ] || echo "/dev/${found##*/}"
    done
}

lun_is_there() {
    [ -b "$(lun "$@")" ]
}

lun_is_gone() {
    [ -z "$(lun "$@")" ]
}

# Names everything anew, and waits for the LUNs that there are from the beginning. UEFI's guest has no more than `disk`.
find_disks() {
    until_true lun_is_there $first 0 0
    disk=$(lun $first 0 0)
    spare=$(lun $first 1 0)
    large=$(lun $first 1 1)
    theirs=$(lun $second 0 0)
    block=512
}

# Folder of a disk in /sys.
device() {
    echo "/sys/block/${1#/dev/}/device"
}

# Asks for a page of INQUIRY with an allocation length, and prints the number of bytes that came: disk, page, length.
page_bytes() {
    sg_raw -r "$3" -o "/tmp/page.$2" "$1" 12 01 "$2" 00 "$(printf %02x "$3")" 00 2>&1 | sed -n 's/^Writing \([0-9]*\) bytes.*/\1/p'
}

# Length of a page according to its header.
page_length() {
    echo $((4 + 0x$(od -An -v -tx1 -j2 -N2 "/tmp/page.$1" | tr -d ' ')))
}

# Fails if the kernel had to help a command that was lost.
nothing_was_lost() {
    ! dmesg | grep -iE 'sd .*(timeout|abort|I/O error)|blocked for more than'
}

identify() {
    sg_inq "$disk" > /tmp/inquiry
    cat /tmp/inquiry
    grep -q 'PQual=0  PDT=0' /tmp/inquiry
    grep -q 'CmdQue=1' /tmp/inquiry
    grep -q 'Vendor identification: LUGE' /tmp/inquiry
    sg_inq --page=sn "$disk" | grep -q 'serial number: LUGE0001'
    sg_inq --page=di "$disk"
    [ "$(cat "$(device "$disk")/vendor")" ]
    sg_turs "$disk"
    sg_requests "$disk"
    sg_requests --desc "$disk"
}

# Each page that is named is there, and its length is true whatever is asked for.
pages() {
    sg_vpd --page=sv "$disk"
    [ "$(page_bytes "$disk" 00 255)" = "$(page_length 00)" ]
    for page in $(od -An -v -tx1 -j4 /tmp/page.00); do
        length=$(page_bytes "$disk" "$page" 255)
        [ "$length" = "$(page_length "$page")" ]
        [ "$(page_bytes "$disk" "$page" 8)" = $((length < 8 ? length : 8)) ]
        [ "$length" = "$(page_length "$page")" ]
        sg_vpd --page=0x"$page" "$disk"
    done
    # Windows' driver computes with 8 bits.
    [ "$(page_bytes "$disk" 83 255)" -le 252 ]
    grep -q . /tmp/page.80
    refused 'Invalid field in cdb' sg_raw -r 255 "$disk" 12 01 d7 00 ff 00
}

name_of() {
    sg_vpd --page=di_lu --quiet "$1"
}

# One volume has one name, through whatever adapter; another one has another.
names() {
    name_of "$spare"
    [ "$(name_of "$spare")" ]
    [ "$(name_of "$spare")" = "$(name_of "$theirs")" ]
    [ "$(name_of "$disk")" != "$(name_of "$spare")" ]
    [ "$(name_of "$large")" != "$(name_of "$spare")" ]
    cat "$(device "$spare")/wwid"
    [ "$(cat "$(device "$spare")/wwid")" = "$(cat "$(device "$theirs")/wwid")" ]
    [ "$(sg_vpd --page=di_port "$spare")" != "$(sg_vpd --page=di_port "$theirs")" ]
}

capacity() {
    for one in "$disk" "$spare" "$large"; do
        sg_readcap "$one"
        sg_readcap --16 "$one"
        set -- $(sg_readcap --brief "$one")
        [ $(($1 * $2)) = "$(blockdev --getsize64 "$one")" ]
        [ "$(sg_readcap --16 --brief "$one")" = "$(sg_readcap --brief "$one")" ]
    done
    [ "$(blockdev --getss "$spare")" = 512 ]
    [ "$(blockdev --getss "$large")" = 4096 ]
}

luns() {
    sg_luns "$spare"
    [ "$(sg_luns --quiet "$spare" | grep -c '^ *[0-9a-f]\{16\}')" = 2 ]
    [ "$(sg_luns --quiet "$disk" | grep -c '^ *[0-9a-f]\{16\}')" = 1 ]
}

write_back() {
    [ "$(sg_modes --page=8 --dbd --raw "$1" | od -An -v -tu1 -j10 -N1)" -ge 4 ]
}

cache_file() {
    echo "$(device "$disk")/scsi_disk/$(basename "$(readlink "$(device "$disk")")")/cache_type"
}

# The write cache is switched off and on by MODE SELECT; data stays right.
modes() {
    sg_modes --all "$disk"
    sg_modes --six "$disk"
    for control in 0 1 2; do
        sg_modes --page=8 --control=$control "$disk"
    done
    [ "$(sg_modes --page=8 --dbd --control=1 --raw "$disk" | od -An -v -tu1 -j10 -N1)" -eq 4 ]
    write_back "$disk"
    echo 'write through' > "$(cache_file)"
    ! write_back "$disk"
    [ "$(cat "$(cache_file)")" = 'write through' ]
    [ "$(fill "$disk" 1600 16)" = "$(hash_of "$disk" 1600 16)" ]
    echo 'write back' > "$(cache_file)"
    write_back "$disk"
    sg_sync "$disk"
}

# Each command that must be there is told to be there; the first word of a line has the opcode, and a service action.
opcodes() {
    sg_opcodes "$disk"
    sg_opcodes --rctd "$disk" > /dev/null
    for wanted in 00 03 08 0a 12 15 1a 1b 1d 1e 25 28 2a 2e 2f 35 41 42 4d 55 5a 88 8a 89 8e 8f 91 93 a0 a8 aa ae af \
        16 17 56 57 5e,0 5e,1 5e,2 5e,3 5f,0 5f,1 5f,2 5f,3 5f,4 5f,5 5f,6 9e,10 9e,12 a3,0a a3,0c a3,0d; do
        sg_opcodes --opcode="0x$(echo "$wanted" | sed 's/,/,0x/')" "$disk" > /tmp/opcode
        grep -q 'conforming to SCSI standard' /tmp/opcode || { echo "$wanted"; cat /tmp/opcode; return 1; }
    done
    sg_opcodes --opcode=0x5f,7 "$disk" | grep -qi 'not supported'
    sg_opcodes --tmf "$disk" > /tmp/functions
    cat /tmp/functions
    grep -qi 'abort task' /tmp/functions
    grep -qi 'logical unit reset' /tmp/functions
}

# Commands beyond the end, unknown ones and those with wrong fields end with the sense of their standards.
senses() {
    refused 'Logical block address out of range' sg_raw -r 512 "$disk" 88 00 ff ff ff ff ff ff ff f0 00 00 00 01 00 00
    refused 'Invalid command operation code' sg_raw "$disk" ff 00 00 00 00 00
    refused 'Invalid command operation code' sg_raw "$disk" 7f 00 00 00 00 00 00 18 00 09 00 00 00 00 00 00 \
        00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    refused 'Invalid field in cdb' sg_raw -r 512 "$disk" 12 00 83 00 ff 00
    refused 'Error in Command: byte' sg_raw -r 512 "$disk" 12 00 83 00 ff 00
    refused 'Parameter list length error\|Invalid field in parameter list' sg_raw -s 4 -i /tmp/inquiry "$disk" \
        55 10 00 00 00 00 00 00 04 00
}

block_of() {
    dd if="$1" bs="$block" skip="$2" count=1 iflag=direct status=none
}

# Commands that the driver does not use.
commands() {
    fill "$spare" 0 16
    sg_verify --lba=0 --count=128 "$spare"
    sg_verify --16 --lba=0 --count=128 "$spare"
    head -c "$block" /tmp/fill > /tmp/same
    tr '\0-\377' '\1-\377\0' < /tmp/same > /tmp/different
    sg_verify --lba=0 --count=1 --ndo="$block" --in=/tmp/same "$spare"
    refused 'iscompare' sg_verify --lba=0 --count=1 --ndo="$block" --in=/tmp/different "$spare"
    sg_dd if=/tmp/different of="$spare" bs="$block" seek=3 count=1 blk_sgio=1 oflag=fua,sgio
    block_of "$spare" 3 | cmp - /tmp/different
    sg_dd if="$spare" of=/tmp/back bs="$block" skip=3 count=1 blk_sgio=1 iflag=fua,sgio cdbsz=16
    cmp /tmp/back /tmp/different
    sg_start --stop "$spare"
    refused 'ot ready' sg_verify --lba=0 --count=1 "$spare"
    refused 'ot ready' sg_verify --lba=0 --count=1 "$theirs"
    sg_start --start "$theirs"
    sg_verify --lba=0 --count=1 "$spare"
    sg_prevent --prevent=1 "$spare"
    sg_prevent --allow "$spare"
    sg_senddiag --test "$spare"
    sg_get_lba_status --lba=0 "$spare"
}

# The two blocks at 5 are swapped only if they are as expected.
compare_and_write() {
    fill "$spare" 0 1
    block_of "$spare" 5 > /tmp/expected
    head -c "$block" /dev/urandom > /tmp/new
    cat /tmp/expected /tmp/new > /tmp/both
    sg_compare_and_write --in=/tmp/both --lba=5 --num=1 --xferlen=$((2 * block)) "$spare"
    block_of "$spare" 5 | cmp - /tmp/new
    refused 'iscompare' sg_compare_and_write --in=/tmp/both --lba=5 --num=1 --xferlen=$((2 * block)) "$spare"
    block_of "$theirs" 5 | cmp - /tmp/new
}

# Clears the second of three MiB, by commands after which it has zeroes, or anything at all.
ranges() {
    begin=$((1048576 / block))
    for clear in "zeroes sg_write_same --10 --unmap --lba=$begin --num=$begin --xferlen=$block --in=/dev/zero $spare" \
        "zeroes sg_write_same --16 --lba=$begin --num=$begin --xferlen=$block --in=/dev/zero $spare" \
        "zeroes sg_write_same --16 --ndob --lba=$begin --num=$begin $spare" \
        "anything blkdiscard -o 1048576 -l 1048576 $spare" \
        "anything sg_unmap --lba=$begin --num=$begin --force $spare"; do
        fill "$spare" 0 48
        front=$(hash_of "$spare" 0 16)
        back=$(hash_of "$spare" 32 16)
        ${clear#* }
        [ "$(hash_of "$spare" 0 16)" = "$front" ]
        [ "${clear%% *}" = anything ] || [ "$(hash_of "$spare" 16 16)" = "$(zeroes 16)" ]
        [ "$(hash_of "$spare" 32 16)" = "$back" ]
    done
    sg_write_same --16 --lba=$begin --num=128 --xferlen="$block" --in=/dev/zero "$spare"
    head -c "$block" /dev/urandom > /tmp/pattern
    sg_write_same --16 --lba=$begin --num=64 --xferlen="$block" --in=/tmp/pattern "$spare"
    block_of "$spare" "$begin" | cmp - /tmp/pattern
    block_of "$spare" $((begin + 63)) | cmp - /tmp/pattern
    [ "$(block_of "$spare" $((begin + 64)) | hash)" = "$(head -c "$block" /dev/zero | hash)" ]
}

# The log pages that there are, as sg_logs and smartctl see them.
logs() {
    sg_logs "$disk"
    sg_logs --all "$disk" > /tmp/logs
    cat /tmp/logs
    # Bit 2 of the status: a log page is absent.
    smartctl --all "$disk" > /tmp/smart || [ $? = 4 ]
    cat /tmp/smart
    grep -q 'SMART support is: *Available' /tmp/smart
    grep -q 'SMART Health Status: OK' /tmp/smart
    grep -q 'LUGE0001' /tmp/smart
}

groups() {
    sg_rtpg --decode "$spare" > /tmp/groups
    cat /tmp/groups
    grep -q 'active/optimized' /tmp/groups
    [ "$(cat "$(device "$spare")/access_state" 2> /dev/null || echo active/optimized)" = active/optimized ]
}

# Resets of a LUN and a target under load: nothing fails.
reset() {
    begin_load
    for _ in 1 2 3; do
        sg_reset --no-esc --device "$spare"
    done
    end_load
    nothing_was_lost
}

# Takes what a LUN has to tell this initiator once: unit attentions about resets and preemptions.
hear() {
    for _ in 1 2 3; do
        sg_raw "$1" 00 00 00 00 00 00 || true
    done
}

# Writes /tmp/same to the first block.
write_one() {
    sg_raw -s "$block" -i /tmp/same "$1" 2a 00 00 00 00 00 00 00 01 00
}

read_one() {
    sg_raw -r "$block" "$1" 28 00 00 00 00 00 00 00 01 00
}

register() {
    sg_persist --out --register --param-rk="$2" --param-sark="$3" "$1"
}

# Two adapters and one volume: each is an initiator of its own.
reservations() {
    head -c "$block" /dev/urandom > /tmp/same
    hear "$spare"
    hear "$theirs"
    sg_persist --in --report-capabilities "$spare"
    register "$spare" 0 0xa1
    register "$theirs" 0 0xb2
    sg_persist --in --read-keys "$theirs" > /tmp/keys
    cat /tmp/keys
    grep -q '0xa1' /tmp/keys
    grep -q '0xb2' /tmp/keys
    sg_persist --out --reserve --param-rk=0xa1 --prout-type=1 "$spare"
    sg_persist --in --read-reservation "$theirs" | grep -q 'Write Exclusive'
    sg_persist --in --read-full-status "$theirs"
    write_one "$spare"
    read_one "$theirs"
    refused 'eservation [Cc]onflict' write_one "$theirs"
    refused 'eservation [Cc]onflict' sg_persist --out --reserve --param-rk=0xb2 --prout-type=1 "$theirs"
    sg_persist --out --preempt --param-rk=0xb2 --param-sark=0xa1 --prout-type=3 "$theirs"
    refused 'eservation [Cc]onflict' read_one "$spare"
    write_one "$theirs"
    sg_persist --out --release --param-rk=0xb2 --prout-type=3 "$theirs"
    hear "$spare"
    write_one "$spare"
    register "$theirs" 0xb2 0
    sg_persist --in --read-keys "$spare" | grep -qi 'no registered reservation keys'
    refused 'nvalid field' sg_persist --out --register --param-sark=0xa1 --param-aptpl "$spare"
}

# RESERVE and RELEASE of SCSI-2.
old_reservations() {
    hear "$spare"
    hear "$theirs"
    sg_raw "$spare" 16 00 00 00 00 00
    refused 'eservation' sg_raw "$theirs" 16 00 00 00 00 00
    sg_raw "$spare" 17 00 00 00 00 00
    sg_raw "$theirs" 16 00 00 00 00 00
    sg_raw "$theirs" 17 00 00 00 00 00
}

# Reports each test of iscsi-test-cu, of the suites of the parameter `suites` or of all: passed, skipped or failed. The
# host knows what is right. A suite at a time, because the program ends itself when one goes wrong.
conformance() {
    suites=$(parameter suites | tr ',' ' ')
    [ "$suites" ] || suites=$(iscsi-test-cu --list | sed -n 's/^ *\(SCSI\.[A-Za-z0-9]*\)\..*/\1/p' | uniq)
    for suite in $suites; do
        iscsi-test-cu --dataloss --verbose --test="$suite" "$spare" "$theirs" > /tmp/suite 2>&1 || true
        outcomes "$suite" < /tmp/suite >&3
        grep -q ' FAILED\|^FAILED' /tmp/suite && cat /tmp/suite
    done
    echo "CONFORMS end" >&3
}

# Lines `CONFORMS suite.test outcome` of the program's report.
outcomes() {
    awk -v suite="$1" '
        function tell(outcome) {
            if (name != "") print "CONFORMS " suite "." name " " (skipped && outcome == "passed" ? "skipped" : outcome)
            name = ""
        }
        /^  Test: / { tell("crashed"); name = $2; skipped = 0 }
        name != "" && /\[SKIPPED\]/ { skipped = 1 }
        name != "" && /passed$/ { tell("passed") }
        name != "" && /FAILED$/ { tell("failed") }
        END { tell("crashed") }'
}

# A LUN comes, grows and goes; nobody rescans.
live() {
    ask add
    until_true lun_is_there $first 2 0
    third=$(lun $first 2 0)
    bytes=$(blockdev --getsize64 "$third")
    before=$(fill "$third" 0 16)
    ask grow
    until_true bytes_are "$third" $((2 * bytes))
    [ "$(hash_of "$third" 0 16)" = "$before" ]
    fill "$third" $(((bytes >> 16) - 1)) 2
    ask remove
    until_true lun_is_gone $first 2 0
}

# LUNs come and go while others are used, and while they are used themselves.
plugs() {
    begin_load
    for n in $(seq "$(parameter plugs)"); do
        ask plug
        until_true lun_is_there $first 3 "$((n % 4))"
        plugged=$(lun $first 3 "$((n % 4))")
        [ "$(fill "$plugged" 0 4)" = "$(hash_of "$plugged" 0 4)" ]
        dd if="$plugged" of=/dev/null bs=4k iflag=direct count=1000000 2> /dev/null &
        ask unplug
        until_true lun_is_gone $first 3 "$((n % 4))"
        ! wait $!
    done
    ask unplugged
    end_load
    nothing_was_lost
}

multipath_name() {
    cat "$(device "$spare")/wwid" | sed 's/^naa\./3/'
}

paths_are() {
    [ "$(dmsetup status "$(multipath_name)" | grep -o "[0-9]:[0-9]* $1 " | wc -l)" = "$2" ]
}

# Writes what udev would know of all SCSI disks, which the multipath tools ask it for.
tell_udev() {
    mkdir -p /run/udev/data
    for found in /sys/block/sd*; do
        printf 'I:1\nE:ID_SERIAL=%s\nE:ID_WWN=%s\n' "$(wwid_of "$found")" "$(wwid_of "$found")" \
            > "/run/udev/data/b$(cat "$found/dev")"
    done
}

wwid_of() {
    sed 's/^naa\./3/' "$1/device/wwid"
}

# Whether the map has so many paths that are active (A) or failed (F).
paths_are() {
    [ "$(dmsetup status "$map" | grep -o "[0-9]:[0-9]* $1 " | wc -l)" = "$2" ]
}

# Both ways to `spare`, one of which is taken away under load, and comes back.
paths() {
    mkdir -p /etc/multipath
    cat > /etc/multipath.conf << END
        defaults {
            find_multipaths no
            user_friendly_names no
            no_path_retry 20
            polling_interval 1
        }
        blacklist {
            devnode "^(vd|nvme)"
        }
END
    tell_udev
    map=$(wwid_of "/sys/block/${spare#/dev/}")
    multipathd -d -s > /tmp/multipathd.log 2>&1 &
    manager=$!
    until_true paths_are A 2 || { cat /tmp/multipathd.log; multipath -v3 -ll; return 1; }
    multipath -ll
    dmsetup mknodes
    spare=/dev/mapper/$map
    begin_load
    ask cut
    end_load
    until_true paths_are A 1
    begin_load
    ask mend
    until_true lun_is_there $second 0 0
    tell_udev
    theirs=$(lun $second 0 0)
    multipathd add path "${theirs#/dev/}"
    until_true paths_are A 2
    end_load
    multipath -ll
    kill $manager
    wait $manager || true
    dmsetup remove "$map"
}

# Two ways to increment a number: no increment is lost.
count_up() {
    for _ in $(seq 40); do
        until false; do
            block_of "$1" 9 > "/tmp/$2.old"
            number=$(head -c 8 "/tmp/$2.old" | tr -d '\0')
            printf '%08d' $((1$number - 100000000 + 1)) > "/tmp/$2.new"
            head -c $((block - 8)) /dev/zero >> "/tmp/$2.new"
            cat "/tmp/$2.old" "/tmp/$2.new" > "/tmp/$2.both"
            sg_compare_and_write --in="/tmp/$2.both" --lba=9 --num=1 --xferlen=$((2 * block)) "$1" 2> /dev/null && break
        done
    done
}

increments() {
    (printf '%08d' 0; head -c $((block - 8)) /dev/zero) | dd of="$spare" bs="$block" seek=9 oflag=direct conv=notrunc
    set +x
    count_up "$spare" one &
    count_up "$theirs" two
    wait
    set -x
    [ "$(block_of "$spare" 9 | head -c 8)" = 00000080 ]
}

# The firmware has loaded kernel and initramfs from this disk.
booted_by_uefi() {
    ls -d /sys/firmware/efi
    dd if="$disk" bs=512 skip=1 count=1 status=none | grep -q 'EFI PART'
    hash_of "$disk" 0 64
}

# Works until the machine ends.
work_until_killed() {
    begin_load
    echo WORKING >&3
    wait $worker
}

# The same memory as a SCSI LUN (`spare`), an NVMe namespace and a virtio disk: one reservation for all.
mixed_reservations() {
    namespace=$(ls -d /dev/nvme?n1)
    virtio=/dev/vda
    [ -b $virtio ]
    head -c "$block" /dev/urandom > /tmp/same
    conflict='eservation [Cc]onflict'
    nvme_write() {
        nvme write "$namespace" -s 0 -c 0 -z "$block" -d /tmp/same
    }
    virtio_write() {
        dd if=/tmp/same of=$virtio bs="$block" count=1 conv=notrunc,fsync
    }
    virtio_read() {
        drop_caches
        dd if=$virtio of=/dev/null bs=4096 count=1
    }
    hear "$spare"
    register "$spare" 0 0xa1
    nvme resv-register "$namespace" --nrkey=0xb2 --rrega=0
    sg_persist --in --read-keys "$spare" > /tmp/keys
    cat /tmp/keys
    grep -q '0xa1' /tmp/keys
    grep -q '0xb2' /tmp/keys
    sg_persist --out --reserve --param-rk=0xa1 --prout-type=1 "$spare"
    nvme resv-report "$namespace" -e > /tmp/report
    cat /tmp/report
    grep -q 'regctl *: 2' /tmp/report
    grep -q 'rtype *: 1' /tmp/report
    grep -qi 'rkey *: a1' /tmp/report
    write_one "$spare"
    refused "$conflict" nvme_write
    refused . virtio_write
    virtio_read
    nvme resv-acquire "$namespace" --crkey=0xb2 --prkey=0xa1 --rtype=2 --racqa=1
    hear "$spare"
    sg_persist --in --read-reservation "$spare" | grep -q 'Exclusive Access'
    nvme_write
    refused "$conflict" write_one "$spare"
    refused . virtio_write
    refused . virtio_read
    nvme resv-release "$namespace" --crkey=0xb2 --rtype=2 --rrela=0
    hear "$spare"
    write_one "$spare"
    virtio_write
    nvme resv-register "$namespace" --crkey=0xb2 --rrega=1
    sg_persist --in --read-keys "$spare" | grep -qi 'no registered reservation keys'
}

take_steps
