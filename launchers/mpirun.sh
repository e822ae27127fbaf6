#!/bin/sh
# Processes under mpirun: Open MPI's, or Hydra's (MPICH, Intel MPI, MVAPICH). Copy this file beside your script.
#
#   sh mpirun.sh train.py --lr 0.1                            4 processes on this machine
#   PROCESSES=16 HOSTS=hosts sh mpirun.sh train.py --lr 0.1   16, on the machines that the file hosts names, one a line
#   MPIRUN=mpiexec.hydra sh mpirun.sh train.py --lr 0.1       where there is more than one mpirun
#
# Every process calls disttrack.init(); rank, world size and the run they share come from mpirun. The script itself needs
# no MPI. For torch.distributed, run = disttrack.init() tells what init_process_group asks for, besides where to meet,
# which is set below: dist.init_process_group(rank=run.rank, world_size=run.world_size).
#
# mpirun does not restart what died. DISTTRACK_ID=my-run: a second call with the same id goes on with that run, as its
# next attempt. Your script has to load its last checkpoint by itself.
#
# Open MPI refuses more processes than cores (OMPI_MCA_rmaps_base_oversubscribe=1 lets it), and root in a container
# (OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 let it).
set -eu

mpirun=${MPIRUN:-mpirun}
python=${PYTHON:-python}

# Where rank 0 listens for the other ranks: it runs on the first of the hosts.
if [ -n "${HOSTS:-}" ]; then
    : "${MASTER_ADDR:=$(awk '!/^#/ && NF { sub(/[: ].*/, ""); print; exit }' "$HOSTS")}" "${MASTER_PORT:=29500}"
else
    # A free port, so that two jobs on one machine do not meet.
    : "${MASTER_ADDR:=127.0.0.1}"
    : "${MASTER_PORT:=$("$python" -c 'import socket; s = socket.create_server(("", 0)); print(s.getsockname()[1])')}"
fi
export MASTER_ADDR MASTER_PORT

case $("$mpirun" --version) in
*"Open MPI"*)
    # Open MPI takes to other machines what -x names, Hydra takes all variables.
    set -- -x MASTER_ADDR -x MASTER_PORT "$python" "$@"
    for name in $(env | sed -n 's/^\(DISTTRACK_[A-Z_]*\)=.*/\1/p'); do set -- -x "$name" "$@"; done
    [ -z "${HOSTS:-}" ] || set -- --hostfile "$HOSTS" "$@"
    ;;
*)
    set -- "$python" "$@"
    [ -z "${HOSTS:-}" ] || set -- -f "$HOSTS" "$@"
    ;;
esac
exec "$mpirun" -n "${PROCESSES:-4}" "$@"
