#!/bin/sh
# Makes the captured sectors beside this file from real filesystems; the bytes repeat.
# Made with dosfstools 4.2 and e2fsprogs 1.47.0. Usage: testdata/make.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
image=$(mktemp)
trap 'rm -f "$image"' EXIT
export E2FSPROGS_FAKE_TIME=1700000000

# sectors NAME FIRST COUNT: 512-byte sectors of the image.
sectors() {
    dd if="$image" of="$here/$1" bs=512 skip="$2" count="$3" status=none
}

# fat BITS SIZE
fat() {
    truncate -s 0 "$image"
    truncate -s "$2" "$image"
    mkfs.vfat --invariant -F "$1" -n "FAT $1" -i ABCD1234 "$image"
    sectors "fat$1-boot.bin" 0 1
}

# ext TYPE OPTION…
ext() {
    type=$1
    shift
    truncate -s 0 "$image"
    truncate -s 8M "$image"
    mke2fs -q -F -t "$type" -L "label-$type" -U 00112233-4455-6677-8899-aabbccddeeff \
        -E hash_seed=00112233-4455-6677-8899-aabbccddeeff "$@" "$image"
    sectors "$type.bin" 2 2
}

fat 12 1440K
fat 16 16M
sectors fat16-root.bin 68 1
fat 32 64M
ext ext2
ext ext3
ext ext4
