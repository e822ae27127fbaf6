#!/bin/sh
# Processes under DeepSpeed's launcher. Copy this file beside your script and change what differs.
#
#   sh deepspeed.sh train.py --lr 0.1                          4 processes, each with a GPU (without GPUs: on processors)
#   PROCESSES=8 HOSTS=hosts sh deepspeed.sh train.py --lr 0.1  8 on each machine of the file hosts: "node0 slots=8", ...
#
# Every process calls disttrack.init(), before or after deepspeed.initialize(); rank, world size and the run they share
# come from the launcher. The tensorboard, wandb and comet sections of a DeepSpeed configuration are not needed for it.
#
# With HOSTS it starts the other machines' processes by ssh and passes on few variables: write those that disttrack needs,
# as DISTTRACK_DIR=/shared, into the file .deepspeed_env in your home directory.
# Without ssh: NODE=0, NODE=1, ... and MEET=node0:29500, and run this on each machine.
#
# DeepSpeed does not restart what died: it ends the other processes of that machine. DISTTRACK_ID=my-run: a second call
# with the same id goes on with that run, as its next attempt. Your script has to load its last checkpoint by itself.
set -eu

set -- --no_local_rank "$@" # or your script has to take an argument --local_rank
if [ -n "${MEET:-}" ]; then
    set -- --master_addr "${MEET%:*}" --master_port "${MEET##*:}" "$@"
else
    # A free port, so that two jobs on one machine do not meet.
    port=$(python -c 'import socket; s = socket.create_server(("", 0)); print(s.getsockname()[1])')
    set -- --master_port "$port" "$@"
fi
[ -z "${NODE:-}" ] || set -- --no_ssh --node_rank "$NODE" "$@"
[ -z "${HOSTS:-}" ] || set -- --hostfile "$HOSTS" "$@"
exec deepspeed --num_gpus "${PROCESSES:-4}" "$@"
