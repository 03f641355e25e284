"""Sentinel-1 C-band SAR: ground range detected (GRD), radiometrically terrain corrected (RTC).

References
----------
ESA, Sentinel-1 Product Specification (S1-RS-MDA-52-7441), naming of measurement files. Alaska
Satellite Facility, Sentinel-1 RTC Product Guide: naming convention of products made on demand.
"""

from __future__ import annotations

from geoxr.products.product import Band, Product

#: 5.405 GHz.
_WAVELENGTH = 55_465.8


def _bands(resolution: float | None = None) -> tuple[Band, ...]:
    names = ("VV", "VH", "HH", "HV")
    return tuple(Band(name, name.lower(), _WAVELENGTH, resolution) for name in names)


_LICENSE = "Copernicus Sentinel data terms"
_CITATION = "Copernicus Sentinel-1 data, European Space Agency"

GRD = Product(
    name="sentinel1-grd",
    title="Sentinel-1 ground range detected, amplitude as stored",
    pattern=(
        r"(?i:s1)(?P<platform>[a-dA-D])-(?P<mode>iw|ew|s[1-6])-(?P<level>grd[fhm]?)-"
        r"(?P<band>vv|vh|hh|hv)-(?P<date>\d{8}t\d{6})-(?P<end>\d{8}t\d{6})-(?P<orbit>\d{6})-"
        r"[0-9a-f]{6}-(?P<part>\d{3})(?:-cog)?\.tiff?"
    ),
    bands=_bands(10),
    default_bands=("VV", "VH"),
    nodata=0,
    date_format="%Y%m%dt%H%M%S",
    license=_LICENSE,
    citation=_CITATION,
)


def _rtc(name: str, title: str, scale: str, units: str) -> Product:
    return Product(
        name=name,
        title=title,
        pattern=(
            r"S1(?P<platform>[A-D])_(?P<mode>SM|IW|EW|WV|S[1-6])_(?P<date>\d{8}T\d{6})_"
            r"(?P<polarisation>[DS][HV])(?P<precision>[PRO])_RTC(?P<spacing>\d{2})_[GS]_"
            rf"(?P<backscatter>[gs])(?P<scale>{scale})(?P<water>[uw])(?P<filter>[nf])"
            r"(?P<area>[ec])(?P<matching>[dm])_[0-9A-Z]{4}_(?P<band>VV|VH|HH|HV)\.tiff?"
        ),
        bands=_bands(),
        default_bands=("VV", "VH"),
        units=units,
        family="sentinel1-rtc",
        date_format="%Y%m%dT%H%M%S",
        license=_LICENSE,
        citation=f"{_CITATION}; processed by ASF HyP3",
    )


#: Power is never negative: files name 0 for what is missing, and NaN is missing anyway.
RTC = _rtc("sentinel1-rtc", "Sentinel-1 backscatter (RTC), power", "p", "1")
RTC_AMPLITUDE = _rtc("sentinel1-rtc-amplitude", "Sentinel-1 backscatter (RTC), amplitude", "a", "1")
#: 0 dB and numbers below are data; only NaN and what a file names itself is missing.
RTC_DB = _rtc("sentinel1-rtc-db", "Sentinel-1 backscatter (RTC), decibel", "d", "dB")

SENTINEL1 = (GRD, RTC, RTC_DB, RTC_AMPLITUDE)
