"""WBXML as a device writes and reads it: libwbxml alone, and a writer of tokens for what it
does not write."""

import ctypes

LIBRARY = ctypes.CDLL("libwbxml2.so.1")
COMPACT = 0
START = b"\x02\xa4\x01\x6a\x00"  # SyncML 1.2, UTF-8, no string table


def converted(direction, octets, *settings):
    converter, result, size = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint()
    assert LIBRARY[f"wbxml_conv_{direction}_create"](ctypes.byref(converter)) == 0
    try:
        for name, *values in settings:
            LIBRARY[f"wbxml_conv_{direction}_{name}"](converter, *values)
        code = LIBRARY[f"wbxml_conv_{direction}_run"](
            converter, octets, len(octets), ctypes.byref(result), ctypes.byref(size)
        )
        assert code == 0, (code, octets)
        return ctypes.string_at(result, size.value)
    finally:
        LIBRARY[f"wbxml_conv_{direction}_destroy"](converter)
        ctypes.CDLL(None).free(result)


def to_wbxml(xml):
    return converted("xml2wbxml", xml, ("enable_preserve_whitespaces",))


def to_xml(octets):
    xml = converted("wbxml2xml", octets, ("set_gen_type", COMPACT), ("enable_preserve_whitespaces",))
    return xml[xml.index(b"<SyncML"):]


def number(value):
    octets = bytes([value & 127])
    while value := value >> 7:
        octets = bytes([128 | value & 127]) + octets
    return octets


def opaque(octets):
    return b"\xc3" + number(len(octets)) + octets


def string(text):
    return b"\x03" + text.encode() + b"\0"


def results(content):
    """A message that is one value, without a header."""
    return START + b"\x6d\x6b\x62\x54\x4f" + content + b"\1" * 5
