#!/bin/sh
# One node, N processes, under torchrun. Copy this file beside your script and change what differs.
#
#   sh torchrun.sh train.py --lr 0.1                 4 processes
#   PROCESSES=8 sh torchrun.sh train.py --lr 0.1     8 processes, usually one per GPU
#
# Every process calls disttrack.init(); rank, world size and the run they share come from torchrun, not from arguments.
#
# RESTARTS=2: when a process dies, torchrun ends the others and starts all of them anew, at most twice. They stay one
# run: each start is a new attempt of it, and nothing that an earlier attempt logged is overwritten. Your script has to
# load its last checkpoint by itself.

# --standalone takes a free port, so that two jobs on one node do not meet.
exec torchrun --standalone --nproc-per-node "${PROCESSES:-4}" --max-restarts "${RESTARTS:-0}" "$@"
