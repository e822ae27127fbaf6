#!/bin/sh
# Processes under torchrun, on one node or several. Copy this file beside your script and change what differs.
#
#   sh torchrun.sh train.py --lr 0.1                 4 processes
#   PROCESSES=8 sh torchrun.sh train.py --lr 0.1     8 processes, usually one per GPU
#
# Every process calls disttrack.init(); rank, world size and the run they share come from torchrun, not from arguments.
#
# NODES=2 MEET=node0:29400: run this on each node, with the same values; MEET is a free port of one of them, under a name
# that all of them know it by. NODES=1:4 lets the job grow and shrink.
#
# RESTARTS=2: when a process dies, torchrun ends the others and starts all of them anew, at most twice. They stay one
# run: each start is a new attempt of it, and nothing that an earlier attempt logged is overwritten. Your script has to
# load its last checkpoint by itself.

set -- --nproc-per-node "${PROCESSES:-4}" --max-restarts "${RESTARTS:-0}" "$@"

if [ -n "${MEET:-}" ]; then
    # --rdzv-id tells this job from others that meet at the same port.
    exec torchrun --nnodes "${NODES:-1}" --rdzv-backend c10d --rdzv-endpoint "$MEET" --rdzv-id "${JOB:-job}" "$@"
fi
# --standalone takes a free port, so that two jobs on one node do not meet.
exec torchrun --standalone "$@"
