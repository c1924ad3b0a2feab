"""Names of experimental techniques, for people who do not know PaNET ids by heart. Pure.

From the Photon and Neutron Experimental Techniques ontology (PaNET) of the ExPaNDS project and its
contributors, http://purl.org/pan-science/PaNET/PaNET.owl, as in ``source/PaNET.csv`` of
https://github.com/pan-ontologies/PaNET at commit 01e207a; licence CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). Changed here: a selection, with at most one short
name each, and without the ending "-based techniques". An id that is not in the table is shown as
it is.
"""

from __future__ import annotations

_TABLE = """
01001 - neutron time of flight
01093 - photoemission spectroscopy
01095 - x-ray fluorescence spectroscopy
01099 GISAS grazing incidence small angle scattering
01100 NPD neutron powder diffraction
01101 XPD x-ray powder diffraction
01102 SXRD x-ray single crystal diffraction
01103 HAXPES hard x-ray photoelectron spectroscopy
01104 - high resolution photoelectron spectroscopy
01105 - holography
01106 - imaging
01109 - infrared spectroscopy
01110 - infrared microspectroscopy
01112 - fluorescence imaging
01113 - fluorescence microscopy
01114 - muon spectroscopy
01115 - optical spectroscopy
01116 - phase contrast imaging
01117 PCS photon correlation spectroscopy
01119 - spin echo scattering
01120 - quasielastic neutron spin echo scattering
01121 - reflectometry
01122 - resonant diffraction
01124 SAS small angle scattering
01125 - spectroscopy
01127 - spin echo small angle scattering
01128 - surface diffraction
01129 - tomography
01133 USAS ultra small angle scattering
01134 - wide angle scattering
01135 - absorption spectroscopy
01136 - diffraction imaging
01137 XMCD x-ray magnetic circular dichroism
01140 XEOL x-ray excited optical luminescence
01146 PEEM photoemission electron microscopy
01149 XRR x-ray reflectivity
01150 - grating interferometry
01151 - absorption tomography
01152 - propagation phase contrast tomography
01154 - nanotomography
01156 - x-ray spectroscopy
01157 - in-situ diffraction
01159 EDD energy dispersive diffraction
01160 EDXRD energy dispersive x-ray diffraction
01161 GIXD grazing incidence x-ray diffraction
01162 GISAXS grazing incidence small angle x-ray scattering
01163 - high pressure single crystal diffraction
01164 MX macromolecular crystallography
01165 MAD multi wavelength anomalous diffraction
01168 SFX serial femtosecond crystallography
01169 SSX serial synchrotron crystallography
01170 SAD single wavelength anomalous diffraction
01171 - small molecule diffraction
01172 - surface x-ray diffraction
01173 XSW x-ray standing wave
01174 CDI coherent diffraction imaging
01177 XRF x-ray fluorescence
01178 - infrared microscopy
01179 - optical microscopy
01180 - x-ray microscopy
01181 PDF pair distribution function
01182 IXS inelastic x-ray scattering
01183 RIXS resonant inelastic x-ray scattering
01184 - x-ray scattering
01186 RXS resonant x-ray scattering
01187 RSXS resonant soft x-ray scattering
01188 SAXS small angle x-ray scattering
01189 SANS small angle neutron scattering
01190 - total scattering
01191 WAXS wide angle x-ray scattering
01192 CD circular dichroism
01193 EDX energy dispersive x-ray spectroscopy
01194 - microfocus spectroscopy
01195 - raman spectroscopy
01196 XAS x-ray absorption spectroscopy
01197 XAFS x-ray absorption fine structure
01198 EXAFS extended x-ray absorption fine structure
01199 XANES x-ray absorption near edge structure
01200 XES x-ray emission spectroscopy
01201 - electron spectroscopy
01202 PES photoelectron spectroscopy
01203 - spin resolved photoelectron spectroscopy
01204 XPS x-ray photoelectron spectroscopy
01205 XPCS x-ray photon correlation spectroscopy
01206 - microtomography
01207 - x-ray tomography
01208 - x-ray microtomography
01212 - ptychography
01213 - ptychographic nanotomography
01216 XRD x-ray diffraction
01217 - neutron diffraction
01218 - ambient pressure x-ray photoelectron spectroscopy
01219 STXM scanning transmission x-ray microscopy
01220 TEY total electron yield
01224 - x-ray lithography
01227 - x-ray absorption
01234 - high resolution neutron powder diffraction
01236 - neutron single crystal diffraction
01239 - neutron reflectometry
01240 - ultra small angle neutron scattering
01241 USAXS ultra small angle x-ray scattering
01242 - neutron scattering
01243 - polarized neutron reflectometry
01244 - time of flight spectrometry
01245 - inelastic neutron spectroscopy
01246 - cold neutron spectroscopy
01247 - thermal neutron spectroscopy
01248 - neutron transmission radiography
01250 - high resolution neutron imaging
01252 - magnetic scattering
01253 - magnetic diffraction
01254 - microfocus x-ray fluorescence
01255 - ellipsometry
01259 XMLD x-ray magnetic linear dichroism
01260 REXS resonant elastic x-ray scattering
01263 - time dependent scattering
01264 - time dependent diffraction
01266 - x-ray holography
01268 - mass spectrometry
01270 - nuclear resonant scattering
01271 - microfocus x-ray scattering
01274 ASAXS anomalous small angle x-ray scattering
01276 GISANS grazing incidence small angle neutron scattering
01277 - time of flight small angle neutron scattering
01278 VSANS very small angle neutron scattering
01285 - x-ray imaging
01288 - scanning x-ray fluorescence
01290 - x-ray diffraction imaging
01292 - nano angle resolved photoemission spectroscopy
01293 - scanning photoelectron microscopy
01294 - x-ray photoemission electron microscopy
01299 - high resolution inelastic neutron scattering
01304 - fragment screening
01309 TR-SFX time resolved serial femtosecond crystallography
01312 TR-SSX time resolved serial synchrotron crystallography
01316 GIWAXS grazing incidence wide angle x-ray scattering
01318 AFM atomic force microscopy
01320 FTIR fourier transform infrared spectroscopy
01322 - microfocus x-ray absorption spectroscopy
"""
"""Number, short name or "-", label."""

_NAMES: dict[str, tuple[str, str]] = {
    f"PaNET{number}": ("" if short == "-" else short, label)
    for number, short, label in (line.split(" ", 2) for line in _TABLE.strip().splitlines())
}


def short_name(technique: str) -> str:
    """``"SAXS"`` for ``"PaNET01188"``; the label where there is no short name, else the id."""
    short, label = _NAMES.get(technique, ("", ""))
    return short or label or technique


def title(technique: str) -> str:
    """``"SAXS (PaNET01188)"``; only the id where there is no name."""
    name = short_name(technique)
    return technique if name == technique else f"{name} ({technique})"


def words_for(technique: str) -> str:
    """All that people may look for: id, short name and label."""
    return " ".join(part for part in (technique, *_NAMES.get(technique, ())) if part)
