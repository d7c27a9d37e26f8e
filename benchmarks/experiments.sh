#!/usr/bin/env bash
# The experiments of docs/evidence.md, by name; hours in total. Each is resumable: run the same command again.
#   PHOTOS=folder/of/train_hr BENCH=folder/of/benchmark benchmarks/experiments.sh NAME...
# PHOTOS holds gb82 and cid22 (HR photographs), BENCH holds Set5/HR and Set14/HR. Results go to $OUT (results/).
set -euo pipefail
: "${PHOTOS:=datasets/train_hr}" "${BENCH:=datasets/benchmark}" "${OUT:=results}"

train="datasets.train.dataroot_gt=[$PHOTOS/gb82,$PHOTOS/cid22]"
nano=options/train/ParagonSR2/2xParagonSR2_Nano_CPU.yml

# Which structure at equal time; Set5 is only looked at.
structure() {
    paragonsr compare "$nano" --set "$train" --set "datasets.val.dataroot_gt=$BENCH/Set5/HR" --set val.val_freq=15000 "$@"
}
s() {
    structure --set network_g.type=paragonsr2_s --set datasets.train.batch_size_per_gpu=4 --set train.optim_g.lr=1e-3 \
        --seeds 1 "$@"
}
# 3000 iterations of the demo's settings on photographs, validated on Set14, reported on Set5 too.
static() {
    paragonsr compare src/paragonsr/recipes/demo.yml --set "$train" --set datasets.val.name=Set14 \
        --set "datasets.val.dataroot_gt=$BENCH/Set14/HR" --set datasets.val_set5.name=Set5 \
        --set datasets.val_set5.type=singleimagedataset --set "datasets.val_set5.dataroot_gt=$BENCH/Set5/HR" \
        --fair --budget 3000it "$@"
}

nano_structure() { structure --set datasets.train.batch_size_per_gpu=8 --vary network_g.structure=compact,dual --seeds 3 --budget 60s "$@"; }
s_structure() { s --budget 120s --vary network_g.structure=compact,dual "$@"; }
s_attention() { s --budget 600it --set network_g.structure=dual --vary network_g.use_attention=false,true "$@"; }
s_norm() { s --budget 1500it --set network_g.structure=dual --vary network_g.use_norm=true,false "$@"; }
s_layer_scale() { s --budget 1500it --set network_g.structure=dual --vary network_g.layer_scale=0.1,1e-5 "$@"; }
s_content_gain() { s --budget 1500it --set network_g.structure=dual --vary network_g.content_gain=around_one,published "$@"; }
msssim() { static --vary train.losses.1.loss_weight=0,0.05 --seeds 5 "$@"; }
lr() {
    static --set train.losses.1.loss_weight=0 --set train.scheduler.type=MultiStepLR \
        --set "train.scheduler.milestones=[2667,3333,3667]" --vary train.optim_g.lr=2e-4,5e-4,1e-3,2e-3,5e-3 --seeds 3 "$@"
}

# The original's settings on a CPU's scale, automations off unless an arm switches them on; 247 photographs, Set14, Set5.
ultra=options/train/ParagonSR2/2xParagonSR2_Nano_CPU_ULTRA_FIDELITY.yml
t=train.training_automations
off=(train.dynamic_loss_scheduling $t.intelligent_learning_rate_scheduler $t.dynamic_batch_size_optimizer $t.early_stopping
    $t.adaptive_gradient_clipping)
seed_settings() {
    paragonsr compare "$ultra" --set "datasets.train.dataroot_gt=[$PHOTOS/gb82,$PHOTOS/cid22,$PHOTOS/clic2025]" \
        --set "datasets.val.dataroot_gt=$BENCH/Set14/HR" --set datasets.val_set5.name=Set5 \
        --set datasets.val_set5.type=singleimagedataset --set "datasets.val_set5.dataroot_gt=$BENCH/Set5/HR" \
        $(printf -- '--set %s.enabled=false ' "${off[@]}") "$@"
}
on() { for section in "$@"; do printf '%s.enabled=true; ' "$section"; done; }
automations() {
    seed_settings --seeds 5 --budget 110s --arm "balance: $(on "${off[0]}")" --arm "rate: $(on "${off[1]}")" \
        --arm "batch: $(on "${off[2]}")" --arm "stopping: $(on "${off[3]}")" --arm "clipping: $(on "${off[4]}")" \
        --arm "all: $(on "${off[@]}")" --arm "all, lr auto: $(on "${off[@]}") train.optim_g.lr=auto" "$@"
}
# The original's settings as they are now: rate and optimiser chosen before the run.
choice="$(on "${off[@]}") ${off[1]}.base_rate=choose; ${off[1]}.optimiser=choose"
choose() { seed_settings --seeds 5 --budget 8077it --arm "choose: $choice" "$@"; }
choose_longer() { seed_settings --seeds 3 --budget 40000it --arm "choose: $choice" "$@"; }
# Seeds that the rule of `lr: auto` was not made with.
lr_auto() {
    seed_settings --seeds 5 --first-seed 10 --budget 5400it --vary train.optim_g.lr=5e-4,1e-3,2e-3,4e-3 --arm "auto: train.optim_g.lr=auto" "$@"
}

# What the learning-rate automation gains where no averaged weights do: the last eighth of the rate brought down.
annealing() {
    seed_settings --seeds 3 --first-seed 20 --set train.ema_decay=0 --budget 4000it --arm "rate: $(on "${off[1]}")" \
        --arm "rate2e-3: $(on "${off[1]}") train.optim_g.lr=2e-3" --arm "static2e-3: train.optim_g.lr=2e-3" "$@"
}

# The original trained 60 000 iterations where it had trained 30 000 before: twice as long, all else in proportion.
longer() { seed_settings --fair --seeds 3 --set train.optim_g.lr=2e-3 --vary train.budget=4000it,8000it "$@"; }

# What complexity selects: tiles of 256 pixels of the same photographs, all automations off, equal iterations, and a
# rate at which so short a run gets near its end (at the original's 2e-4 it would not).
tiles() {
    mkdir -p "$OUT/selections"
    paragonsr data tile "$PHOTOS" "$OUT/tiles" --side 256
    paragonsr data score "$OUT/tiles"
}
chosen() { # NAME EXPRESSION OPTION...: the option of `compare` that trains from this selection
    paragonsr data select "$2" "$OUT/tiles" --out "$OUT/selections/$1.jsonl" "${@:3}" >&2
    echo "datasets.train.dataroot_gt=$OUT/selections/$1.jsonl"
}
selected() { seed_settings --fair --allow data --set train.optim_g.lr=2e-3 --budget 8000it "$@"; }
curation() {
    tiles
    selected --seeds 5 --set "$(chosen everything "complexity >= 0")" \
        --arm "complexity >= 0.5: $(chosen complex "complexity >= 0.5")" \
        --arm "288 at random: $(chosen random "complexity >= 0" --order random:0 --limit 288)" \
        --arm "288 least complex: $(chosen least "complexity >= 0" --order complexity --limit 288)" \
        --arm "without the least 40%: $(chosen drop40 "pct(complexity) >= 0.4")" "$@"
}
curation_thresholds() {
    tiles
    arms=()
    for threshold in 0.2 0.3 0.4 0.5 0.6; do
        arms+=(--arm "complexity >= $threshold: $(chosen "above$threshold" "complexity >= $threshold")")
    done
    selected --seeds 3 --set "$(chosen everything "complexity >= 0")" \
        "${arms[@]}" "$@"
}

# The frontier of a size: the CPU recipe without automations, at equal iterations. Set14 decides, Set5 and B100 are only
# looked at. TEACHER is a file of weights; runs with it train on gb82 and clic2025.
: "${TEACHER:=models/2x_paragonsr2_photo_fidelity.safetensors}"
frontier() {
    paragonsr compare "$nano" --set "$train" --set datasets.val.name=Set14 \
        --set "datasets.val.dataroot_gt=$BENCH/Set14/HR" $(reported Set5) $(reported B100) \
        --set val.metrics.psnr_rgb.type=psnr --set val.val_freq=1000000 --fair "$@"
}
reported() { # NAME: options of `compare` that measure on this set too
    local set="datasets.val_$(tr '[:upper:]' '[:lower:]' <<<"$1")"
    echo "--set $set.name=$1 --set $set.type=singleimagedataset --set $set.dataroot_gt=$BENCH/$1/HR"
}
with() { echo "train.optim_g.type=$1; train.optim_g.lr=$2; train.optim_g.betas=$3"; }
soap=(--set train.optim_g.type=SOAP --set train.optim_g.lr=6e-3 --set "train.optim_g.betas=[0.95,0.95]")
luma_body="network_g.luma_body=true; network_g.num_blocks=4; train.losses.0.type=lumaloss"
luma=(--set network_g.luma_body=true --set network_g.num_blocks=4 --set train.losses.0.type=lumaloss)
small_set=(--set "datasets.train.dataroot_gt=[$PHOTOS/gb82,$PHOTOS/clic2025]")

optimiser_nano() {
    frontier --seeds 5 --budget 3000it --arm "SOAP: $(with SOAP 6e-3 '[0.95,0.95]')" \
        --arm "Muon: $(with Muon 6e-3 '[0.9,0.99]')" "$@"
}
optimiser_tiny() {
    frontier --seeds 3 --budget 1500it --set network_g.type=paragonsr2_tiny \
        --arm "SOAP: $(with SOAP 6e-3 '[0.95,0.95]')" "$@"
}
# Compiled and bf16 runs against fp32 in eager mode. bf16 needs avx512_bf16, AMX or a GPU; without, that arm trains in fp32.
precision() {
    frontier --arm "compiled: use_compile=true" --arm "bf16: use_amp=true; amp_bf16=true" "$@"
}
precision_nano() { precision --seeds 5 --budget 3000it "$@"; }
precision_tiny() { precision --seeds 3 --budget 1500it --set network_g.type=paragonsr2_tiny "$@"; }
optimiser_s() {
    frontier --seeds 3 --budget 600it --set network_g.type=paragonsr2_s --set datasets.train.batch_size_per_gpu=8 \
        --set train.optim_g.lr=1e-3 --arm "SOAP: $(with SOAP 3e-3 '[0.95,0.95]')" "$@"
}
optimiser_spandrel() {
    frontier --seeds 3 --budget 1500it --set network_g.type=spandrel --set network_g.network=Compact \
        --set network_g.arguments.num_feat=24 --set network_g.arguments.num_conv=8 --set train.optim_g.lr=1e-3 \
        --arm "SOAP: $(with SOAP 3e-3 '[0.95,0.95]')" "$@"
}
# The same parameters in the form that plain spandrel loads, trained so from the start.
compact_form() {
    frontier --seeds 3 --budget 3000it "${soap[@]}" --arm "Compact: network_g.type=spandrel; network_g.network=Compact;\
 network_g.arguments.num_feat=16; network_g.arguments.num_conv=3" "$@"
}
luma_body() {
    frontier --seeds 5 --budget 3000it "${soap[@]}" --arm "luma loss: train.losses.0.type=lumaloss" \
        --arm "luma body: $luma_body" "$@"
}
teacher_nano() {
    frontier --seeds 5 --budget 3000it "${soap[@]}" "${luma[@]}" "${small_set[@]}" \
        --arm "half: path.pretrain_network_g_teacher=$TEACHER; train.teacher_share=0.5" \
        --arm "teacher: path.pretrain_network_g_teacher=$TEACHER" "$@"
}
teacher_tiny() {
    frontier --seeds 3 --budget 1500it "${soap[@]}" "${small_set[@]}" --set network_g.type=paragonsr2_tiny \
        --set network_g.luma_body=true --set train.losses.0.type=lumaloss \
        --arm "teacher: path.pretrain_network_g_teacher=$TEACHER" "$@"
}
branches() { frontier --seeds 3 --budget 3000it --vary train.branches=none,edge "$@"; }
branches_soap() { branches "${soap[@]}" "$@"; }
depth() {
    frontier --seeds 3 --budget 3000it "${soap[@]}" "${luma[@]}" \
        --arm "16 of 8: network_g.num_feat=8; network_g.num_blocks=16" \
        --arm "7 of 12: network_g.num_feat=12; network_g.num_blocks=7" "$@"
}
base() {
    frontier --seeds 3 --budget 3000it "${soap[@]}" "${luma[@]}" --arm "plain kernel: network_g.upsampler_alpha=0" \
        --arm "bicubic: network_g.base=bicubic; network_g.upsampler_alpha=0" "$@"
}

for name in "${@:-nano_structure s_structure s_attention s_norm s_layer_scale s_content_gain msssim lr automations choose choose_longer annealing lr_auto longer curation curation_thresholds optimiser_nano optimiser_tiny optimiser_s optimiser_spandrel compact_form luma_body teacher_nano teacher_tiny branches branches_soap depth base}"; do
    for experiment in $name; do
        "$experiment" --out "$OUT/$experiment"
    done
done
