"""Pictures beside Pillow: pixels of every form, resizing in every filter, whole
transforms, then their speed.  images.py PROGRAM DIR [same|speed]; see test/bench/images."""

import gzip
import io
import json
import math
import os
import random
import struct
import subprocess
import sys
import time

import numpy as np
from PIL import Image, ImageOps, features

program, work, what = sys.argv[1], sys.argv[2], sys.argv[3]
here = os.path.dirname(os.path.abspath(__file__))
shared = os.path.join(here, "../../../shared/data")
FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]


def path(name):
    return os.path.join(work, name)


def thumbnails(n):
    """Real pictures, of 60 x 80 pixels; noise and gradients where there are none."""
    file = os.path.join(shared, "fashion/products.tsv.gz")
    found = []
    if os.path.exists(file):
        with gzip.open(file, "rt") as lines:
            for line in lines:
                found.append(bytes.fromhex(line.rstrip("\n").split("\t")[8].lstrip("\\x")))
                if len(found) == n:
                    break
    while len(found) < n:
        rng = np.random.default_rng(len(found))
        y, x = np.mgrid[0:80, 0:60]
        pixels = np.stack([(x * 3 + y) % 256, (y * 3) % 256, (x * y) // 20 % 256], 2)
        pixels = (pixels + rng.integers(0, 40, pixels.shape)).clip(0, 255).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=90)
        found.append(out.getvalue())
    return found


def photo(width, height, pictures):
    """Something of a photo's size: thumbnails side by side, each four times as large."""
    image = Image.new("RGB", (width, height))
    i = 0
    for top in range(0, height, 320):
        for left in range(0, width, 240):
            part = Image.open(io.BytesIO(pictures[i % len(pictures)])).convert("RGB")
            image.paste(part.resize((240, 320), Image.BICUBIC), (left, top))
            i += 1
    return image


def ours(*words):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{words}: {done.stderr}")
    return done.stdout.split()


def decoded(name):
    width, height = map(int, ours("decode", path(name), path("out")))
    return np.fromfile(path("out"), np.uint8).reshape(height, width, 3)


class Tally:
    def __init__(self, name):
        self.name, self.cases, self.equal, self.most = name, 0, 0, 0

    def add(self, mine, theirs):
        assert mine.shape == theirs.shape, (self.name, mine.shape, theirs.shape)
        off = np.abs(mine.astype(np.float64) - theirs.astype(np.float64)).max()
        self.cases += 1
        self.equal += off == 0
        self.most = max(self.most, off)

    def __str__(self):
        return f"| {self.name} | {self.cases} | {self.equal} | {self.most:.3g} |"


def same_pixels(pictures):
    tally = Tally("decoded JPEG (grey, colour, CMYK; three samplings; progressive; turned)")
    base = photo(211, 157, pictures)
    for mode in ("RGB", "L", "CMYK"):
        for options in ({}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 30}, {"restart_marker_rows": 1}):
            try:
                base.convert(mode).save(path("x.jpg"), "JPEG", **options)
            except (OSError, TypeError):
                continue
            tally.add(decoded("x.jpg"), np.asarray(Image.open(path("x.jpg")).convert("RGB")))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("jpg", "png"):
            base.save(path("x." + kind), exif=exif)
            want = ImageOps.exif_transpose(Image.open(path("x." + kind))).convert("RGB")
            tally.add(decoded("x." + kind), np.asarray(want))
    for one in pictures[:300]:
        with open(path("x.jpg"), "wb") as file:
            file.write(one)
        tally.add(decoded("x.jpg"), np.asarray(Image.open(path("x.jpg")).convert("RGB")))
    print(tally)
    tally = Tally("decoded PNG (grey, colour, palette, bits; with alpha over white)")
    for mode in ("RGB", "L", "1", "P", "LA", "RGBA"):
        image = base.convert(mode) if mode != "P" else base.quantize(40)
        if mode in ("LA", "RGBA"):
            image.putalpha(base.convert("L"))
        image.save(path("x.png"))
        if mode in ("LA", "RGBA"):
            rgba = np.asarray(image.convert("RGBA")).astype(np.float64)
            alpha = rgba[:, :, 3:] / 255
            want = np.floor(rgba[:, :, :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
        else:
            want = np.asarray(image.convert("RGB"))
        tally.add(decoded("x.png"), want)
    print(tally)


def same_resized(pictures):
    rng = random.Random(1)
    sizes = [(60, 80), (211, 157), (640, 480), (7, 5), (1, 1), (1, 300), (1000, 3)]
    images = []
    for i, size in enumerate(sizes):
        noise = np.random.default_rng(i).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        images.append(Image.fromarray(noise) if i % 2 else photo(*size, pictures))
        images[-1].save(path(f"s{i}.png"))
    for number, name in enumerate(FILTERS):
        tally = Tally(f"resized, {name}")
        for i, image in enumerate(images):
            for size in [(224, 224), (32, 32), (299, 224), (5, 9), image.size,
                         (image.size[0], 77), (image.size[0] * 2, image.size[1]),
                         (rng.randint(1, 500), rng.randint(1, 500))]:
                left, top = rng.randrange(size[0]), rng.randrange(size[1])
                window = (left, top, rng.randint(1, size[0] - left), rng.randint(1, size[1] - top))
                want = np.asarray(image.resize(size, number))
                for part in ((0, 0, *size), window):
                    ours("resize", path(f"s{i}.png"), *size, number, *part, path("out"))
                    mine = np.fromfile(path("out"), np.uint8).reshape(part[3], part[2], 3)
                    tally.add(mine, want[part[1]:part[1] + part[3], part[0]:part[0] + part[2]])
        print(tally)


def processed(image, config):
    """What transformers' CLIP and ViT processors do, in Pillow and numpy."""
    size = config["size"]
    if "shortest_edge" in size:
        edge, (w, h) = size["shortest_edge"], image.size
        target = (edge, int(edge * h / w)) if w <= h else (int(edge * w / h), edge)
    else:
        target = (size["width"], size["height"])
    pixels = np.asarray(image.resize(target, config["resample"]))
    if config.get("do_center_crop"):
        crop = config["crop_size"]["height"]
        top, left = math.floor((pixels.shape[0] - crop) / 2), math.floor((pixels.shape[1] - crop) / 2)
        padded = np.zeros((crop, crop, 3), np.uint8)
        from_top, from_left = max(top, 0), max(left, 0)
        part = pixels[from_top:from_top + crop, from_left:from_left + crop]
        padded[max(-top, 0):max(-top, 0) + part.shape[0], max(-left, 0):max(-left, 0) + part.shape[1]] = part
        pixels = padded
    floats = (pixels * config["rescale_factor"]).astype(np.float32)
    mean, std = np.float32(config["image_mean"]), np.float32(config["image_std"])
    return ((floats - mean) / std).transpose(2, 0, 1)


CLIP = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}, "resample": 3,
        "do_center_crop": True, "crop_size": {"height": 224, "width": 224}, "rescale_factor": 1 / 255,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
VIT = {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2,
       "rescale_factor": 1 / 255, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SMALL = dict(CLIP, size={"shortest_edge": 40}, crop_size={"height": 64, "width": 64})


def write_config(name, config):
    with open(path(name), "w") as file:
        json.dump(config, file)


def same_transforms(pictures):
    tally = Tally("whole transforms (CLIP, ViT, a crop larger than the picture), floats")
    for i, size in enumerate([(640, 480), (479, 641), (224, 224), (60, 80)]):
        photo(*size, pictures).save(path("t.png"))
        for config in (CLIP, VIT, SMALL):
            write_config("t.json", config)
            ours("transform", path("t.png"), path("t.json"), path("out"))
            want = processed(Image.open(path("t.png")), config)
            tally.add(np.fromfile(path("out"), np.float32).reshape(want.shape), want)
    print(tally)


def pace(work_once, seconds):
    work_once()
    start, n = time.process_time(), 0
    while time.process_time() - start < seconds:
        work_once()
        n += 1
    return n / (time.process_time() - start)


def speed(pictures, rounds, seconds):
    photo(640, 480, pictures).save(path("photo.jpg"), quality=90)
    photo(640, 480, pictures).save(path("photo.png"))
    with open(path("thumbnail.jpg"), "wb") as file:
        file.write(pictures[0])
    write_config("clip.json", CLIP)
    write_config("vit.json", VIT)
    write_config("thumbnail.json", dict(VIT, size={"height": 64, "width": 64}))
    rows = []

    def theirs_whole(name, config):
        with open(path(name), "rb") as file:
            data = file.read()
        return lambda: processed(Image.open(io.BytesIO(data)).convert("RGB"), config)

    def theirs_decode(name):
        with open(path(name), "rb") as file:
            data = file.read()
        return lambda: Image.open(io.BytesIO(data)).convert("RGB")

    for number in (2, 3, 1, 4):
        for size in ((224, 224), (1024, 768)):
            image = photo(640, 480, pictures)
            rows.append((f"resize 640 x 480 to {size[0]} x {size[1]}, {FILTERS[number]}",
                         ("photo.png", *size, number),
                         lambda image=image, size=size, number=number: image.resize(size, number)))
    thumbnail = Image.open(path("thumbnail.jpg")).convert("RGB")
    rows.append(("resize 60 x 80 to 64 x 64, bilinear", ("thumbnail.jpg", 64, 64, 2),
                 lambda: thumbnail.resize((64, 64), 2)))
    for name in ("photo.jpg", "photo.png", "thumbnail.jpg"):
        rows.append((f"decode {name} (640 x 480)" if name[0] == "p" else f"decode {name} (60 x 80)",
                     (name, "-", "-", "-"), theirs_decode(name)))
    for label, name, file, config in (
            ("photo.jpg to CLIP's floats", "photo.jpg", "clip.json", CLIP),
            ("photo.jpg to ViT's floats", "photo.jpg", "vit.json", VIT),
            ("thumbnail.jpg to 64 x 64 floats", "thumbnail.jpg", "thumbnail.json",
             dict(VIT, size={"height": 64, "width": 64}))):
        rows.append((label, (name, path(file), "-", "-"), theirs_whole(name, config)))
    print("| | Pillow, pictures/s | here | ratio |\n|---|---|---|---|")
    for label, words, theirs in rows:
        mine, other = [], []
        for _ in range(rounds):
            mine.append(float(ours("speed", path(words[0]), *words[1:], seconds)[0]))
            other.append(pace(theirs, seconds))
        a, b = sorted(mine)[rounds // 2], sorted(other)[rounds // 2]
        print(f"| {label} | {b:,.0f} | {a:,.0f} | {a / b:.1f} |", flush=True)


pictures = thumbnails(400)
print(f"Pillow {Image.__version__}, numpy {np.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}")
if what == "same":
    print("| what | cases | equal in every value | greatest difference |\n|---|---|---|---|")
    same_pixels(pictures)
    same_resized(pictures)
    same_transforms(pictures)
else:
    speed(pictures, int(os.environ.get("ROUNDS", "5")), float(os.environ.get("SECONDS_EACH", "0.5")))
