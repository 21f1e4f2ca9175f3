#!/bin/bash
# A real systemd for one user, in namespaces of its own: nothing of it reaches this machine, and all of it goes with it.
# Run by: unshare --mount --pid --fork --kill-child service_manager.sh CGROUP (a name), with HOME and XDG_RUNTIME_DIR.
set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/systemd/system # or it would refuse: this machine was not booted by a systemd
mount -t tmpfs none /mnt
mkdir /mnt/all
mount -t cgroup2 none /mnt/all
mkdir "/mnt/all/$1"
echo 0 >"/mnt/all/$1/cgroup.procs"
exec unshare --cgroup --mount bash -c '
    umount --recursive /sys/fs/cgroup 2>/dev/null
    mount -t proc none /proc
    mount -t cgroup2 none /sys/fs/cgroup
    PATH="$PATH:/usr/lib/systemd:/lib/systemd"
    systemd --user --log-target=console & # not as process 1 of the namespace: that would be the system
    wait
'
