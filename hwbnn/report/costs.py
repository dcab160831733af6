def cards(r): return []
def lut(r, name=None): return None
def lut_synthesized(r, name=None): return None
def energy_share(r, name): return None
def layer_note(r): return ""
def device(r): return "x"
def resources(r): return []
def energy(r): return []
