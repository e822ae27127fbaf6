#!/bin/sh
# Processes under accelerate launch. Copy this file beside your script and change what differs.
#
#   sh accelerate.sh train.py --lr 0.1                4 processes, each with a GPU
#   DEVICE=cpu sh accelerate.sh train.py --lr 0.1     4 processes on this machine's processors
#
# Every process calls disttrack.init(), before or after Accelerator(); rank, world size and the run they share come from
# what accelerate starts: torchrun's agent for GPUs, mpirun for processors (install openmpi-bin or mpich).
# accelerate.Accelerator(log_with=...) is not needed for it.
#
# NODES=2 NODE=0 MEET=node0:29500: run this on each node, with NODE=0, NODE=1, ... and else the same values; MEET is a
# free port of node 0. PROCESSES counts those of all nodes.
#
# RESTARTS=2 (GPUs): when a process dies, all are started anew, at most twice. They stay one run: each start is a new
# attempt of it. Your script has to load its last checkpoint by itself.
set -eu

if [ -n "${MEET:-}" ]; then
    set -- --machine_rank "${NODE:-0}" --main_process_ip "${MEET%:*}" --main_process_port "${MEET##*:}" "$@"
else
    # A free port, so that two jobs on one node do not meet.
    port=$(python -c 'import socket; s = socket.create_server(("", 0)); print(s.getsockname()[1])')
    set -- --main_process_port "$port" "$@"
fi
set -- --num_machines "${NODES:-1}" --num_processes "${PROCESSES:-4}" --mixed_precision "${PRECISION:-no}" \
    --dynamo_backend no "$@"

if [ "${DEVICE:-gpu}" = gpu ]; then
    exec accelerate launch --multi_gpu --max_restarts "${RESTARTS:-0}" "$@"
fi
# Without a file of hosts accelerate starts one process only, however many it is asked for.
if [ -z "${HOSTS:-}" ]; then
    HOSTS=$(mktemp)
    trap 'rm -f "$HOSTS"' EXIT
    case $(mpirun --version) in
    *"Open MPI"*) echo "localhost slots=${PROCESSES:-4}" >"$HOSTS" ;;
    *) echo "localhost:${PROCESSES:-4}" >"$HOSTS" ;;
    esac
fi
accelerate launch --cpu --mpirun_hostfile "$HOSTS" "$@"
