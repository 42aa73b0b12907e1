#!/bin/sh
# The guest's first process: mounts, loads modules, then runs what the host asks for until the host is gone.
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /var
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t bpf bpf /sys/fs/bpf
ln -s /run /var/run
while read -r module; do
    insmod "$module" || echo "init: $module does not load"
done </etc/modules
ip link set lo up

for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = mcr ] && exec 3<>"/dev/${port##*/}"
done
echo ready >&3
: >/run/request
# Lines up to the last make a script. The answer: exit code, lengths of the two outputs, then both.
while IFS= read -r line <&3; do
    if [ "$line" != '#run' ]; then
        printf '%s\n' "$line" >>/run/request
        continue
    fi
    sh -u /run/request >/run/stdout 2>/run/stderr </dev/null 3>&-
    echo "$? $(stat -c %s /run/stdout) $(stat -c %s /run/stderr)" >&3
    cat /run/stdout /run/stderr >&3
    : >/run/request
done
poweroff -f
