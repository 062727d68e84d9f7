"""Writes test/unit/resize_expected.h from Pillow (python3-pil): resize_expected.py >resize_expected.h"""

from PIL import Image, __version__


def picture(width, height):
    state, data = 12345, bytearray()
    for _ in range(width * height * 3):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        data.append(state >> 24)
    return Image.frombytes("RGB", (width, height), bytes(data))


def digest(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


print(f"/*\n * resize_expected.h\n *\t\tWhat Pillow {__version__} gives; made by test/unit/tools/resize_expected.py.\n */")
print("/* 13 x 9 to 5 x 4, by filter */")
print("static const uint8_t resize_small[6][60] = {")
for number in range(6):
    data = picture(13, 9).resize((5, 4), number).tobytes()
    print("\t{" + ", ".join(map(str, data)) + "},")
print("};\n")
print("/* filter, source, size, FNV-1a of the pixels */")
print("static const struct\n{\n\tint filter;\n\tuint32_t from[2];\n\tuint32_t to[2];\n\tuint64_t digest;\n} resize_cases[] = {")
sizes = [((13, 9), (29, 31)), ((64, 48), (32, 32)), ((60, 80), (64, 64)), ((101, 67), (101, 20)),
         ((101, 67), (33, 67)), ((320, 200), (224, 224)), ((200, 1), (7, 3)), ((1, 1), (4, 4)), ((3, 400), (2, 9))]
for number in range(6):
    for source, size in sizes:
        data = picture(*source).resize(size, number).tobytes()
        print(f"\t{{{number}, {{{source[0]}, {source[1]}}}, {{{size[0]}, {size[1]}}}, UINT64_C(0x{digest(data):016x})}},")
print("};")
