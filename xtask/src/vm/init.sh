#!/bin/bash
# The guest's first process: mounts what a system has, runs the command, and turns the machine off.
# ttyS0 is the kernel's console, ttyS1 the command's output, ttyS2 its exit status, ttyS3 a tar of /out.
export PATH=/bin HOME=/root LB_GUEST=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
for kind in tmpfs:/tmp tmpfs:/dev/shm devpts:/dev/pts bpf:/sys/fs/bpf cgroup2:/sys/fs/cgroup \
    tracefs:/sys/kernel/tracing debugfs:/sys/kernel/debug; do
    mount -t "${kind%%:*}" "${kind%%:*}" "${kind#*:}"
done
ulimit -l unlimited
ip link set lo up
for port in 1 2 3; do
    stty -F "/dev/ttyS$port" raw -echo 115200
done
cd /
setsid bash /guest/command </dev/null >/dev/ttyS1 2>&1
status=$?
[ -z "$(ls /out)" ] || tar -C /out -cf - . >/dev/ttyS3 2>/dev/null
echo "$status" >/dev/ttyS2
poweroff -f
