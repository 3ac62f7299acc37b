"""Crystals in space: one page that turns them under the mouse, without network, server or library.

The page holds the atoms, bonds and edges of `scene` and a hundred lines of script that draw them on a canvas.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from sciflow.checkpoint import write_text
from sciflow.errors import expected, unknown

from . import elements, symmetry, validity
from .crystal import Crystal
from .scene import colour_of, drawn_radius, hexed, model

MOST = 500
"""Most crystals in a page."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_STYLE = """
*{box-sizing:border-box}body{margin:0;font:15px/1.45 system-ui,Helvetica,Arial,sans-serif;color:#2b2f36;
background:#f6f7f9;display:flex;height:100vh}
nav{width:230px;overflow:auto;border-right:1px solid #e3e6eb;background:#fff;padding:14px 0}
nav h1{font-size:16px;margin:2px 18px 10px}nav button{display:block;width:100%;border:0;background:none;
text-align:left;padding:7px 18px;font:inherit;color:inherit;cursor:pointer}nav button small{display:block;color:#7a828e}
nav button:hover{background:#f1f4f8}nav button.on{background:#e8f0f7;box-shadow:inset 3px 0 #2f6f9f}
nav button.bad,nav button.bad small{color:#c0392b}main{flex:1;display:flex;flex-direction:column;min-width:0}
header{padding:14px 22px 0}header h2{margin:0;font-size:22px}header p{margin:2px 0;color:#59616d}
canvas{flex:1;width:100%;min-height:0;cursor:grab;touch-action:none}footer{padding:8px 22px 14px;color:#7a828e;
font-size:13px}footer i{display:inline-block;width:12px;height:12px;border-radius:50%;margin:0 5px 0 12px;
vertical-align:-1px}
@media(max-width:640px){body{flex-direction:column}nav{width:100%;max-height:28vh;border-right:0}}
"""

_SCRIPT = """
const all=JSON.parse(document.getElementById('data').textContent),canvas=document.querySelector('canvas'),
pen=canvas.getContext('2d'),nav=document.querySelector('nav');
let turn=[0.42,0.24],zoom=1,now=0,held=null;
function shade(c,f){const n=parseInt(c.slice(1),16),p=[n>>16,n>>8&255,n&255];
return f>0?p.map(v=>v+(255-v)*f):p.map(v=>v*(1+f))}
const css=p=>'rgb('+p.map(v=>Math.round(v)).join()+')';
function rotate(p){const a=turn[0],e=turn[1],ca=Math.cos(a),sa=Math.sin(a),ce=Math.cos(e),se=Math.sin(e),
x=-sa*p[0]+ca*p[1],d=ca*p[0]+sa*p[1];return[x,ce*p[2]-se*d,ce*d+se*p[2]]}
function draw(){const r=canvas.getBoundingClientRect(),q=window.devicePixelRatio||1;
canvas.width=r.width*q;canvas.height=r.height*q;const c=all[now];pen.clearRect(0,0,canvas.width,canvas.height);
if(!c.atoms.length)return;
const s=zoom*0.44*Math.min(canvas.width,canvas.height)/c.radius,ox=canvas.width/2,oy=canvas.height/2,list=[];
const at=p=>[ox+s*p[0],oy-s*p[1]],fog=z=>Math.max(0,0.36*(c.radius-z)/(2*c.radius));
const pts=c.atoms.map(a=>rotate(a.p));
c.atoms.forEach((a,i)=>list.push([pts[i][2],()=>{const[x,y]=at(pts[i]),w=s*a.r,f=fog(pts[i][2]),
base=shade(a.c,f),mix=(t,k)=>base.map((v,j)=>v+(t[j]-v)*k),
g=pen.createRadialGradient(x-0.32*w,y-0.38*w,0,x,y,w);g.addColorStop(0,css(mix([255,255,255],0.72)));
g.addColorStop(0.35,css(mix([255,255,255],0.2)));g.addColorStop(0.75,css(base));
g.addColorStop(1,css(mix([20,22,30],0.4*(1-f))));pen.fillStyle=g;pen.beginPath();pen.arc(x,y,w,0,7);pen.fill()}]));
const bar=(a,b,w,col)=>{const[x,y]=at(a),[u,v]=at(b);pen.strokeStyle=col;pen.lineWidth=w;pen.lineCap='round';
pen.beginPath();pen.moveTo(x,y);pen.lineTo(u,v);pen.stroke()};
c.bonds.forEach(([i,j])=>{const a=pts[i],b=pts[j],m=a.map((v,k)=>(v+b[k])/2);
[[a,i],[b,j]].forEach(([e,k])=>list.push([m[2]-0.05,()=>bar(e,m,0.17*s,css(shade(c.atoms[k].c,fog(m[2]))))]))});
c.edges.forEach(([p,t])=>{const a=rotate(p),b=rotate(t);for(let k=0;k<8;k++){
const l=a.map((v,i)=>v+(b[i]-v)*k/8),h=a.map((v,i)=>v+(b[i]-v)*(k+1)/8);
list.push([(l[2]+h[2])/2,()=>bar(l,h,Math.max(1.2,0.05*s),css(shade('#8e97a5',fog(l[2]))))])}});
list.sort((a,b)=>a[0]-b[0]).forEach(x=>x[1]())}
function show(k){now=k;const c=all[k];document.querySelector('h2').textContent=c.title;
document.querySelector('header p').textContent=c.line;const f=document.querySelector('footer');f.textContent='';
Object.entries(c.legend).forEach(([n,v])=>{const i=document.createElement('i');i.style.background=v;
f.append(i,n)});[...nav.querySelectorAll('button')].forEach((b,i)=>b.classList.toggle('on',i===k));draw()}
all.forEach((c,k)=>{const b=document.createElement('button'),s=document.createElement('small');
b.textContent=c.title;s.textContent=c.note;b.append(s);b.classList.toggle('bad',c.bad);
b.onclick=()=>show(k);nav.append(b)});
canvas.onpointerdown=e=>{held=[e.clientX,e.clientY];canvas.setPointerCapture(e.pointerId)};
canvas.onpointermove=e=>{if(!held)return;turn[0]-=(e.clientX-held[0])*0.009;
turn[1]=Math.max(-1.57,Math.min(1.57,turn[1]+(e.clientY-held[1])*0.009));held=[e.clientX,e.clientY];draw()};
canvas.onpointerup=canvas.onpointercancel=()=>{held=null};
canvas.addEventListener('wheel',e=>{e.preventDefault();zoom=Math.max(0.2,Math.min(6,zoom*Math.exp(-e.deltaY*0.001)));
draw()},{passive:false});
window.onkeydown=e=>{const d={ArrowDown:1,ArrowUp:-1}[e.key];if(d&&all[now+d]){e.preventDefault();show(now+d)}};
window.onresize=draw;show(0);
"""


def page(crystals: Sequence[Any], title: str = "Crystals") -> str:
    """Return a page that shows crystals in space: drag to turn, wheel to come nearer, arrows for the next.

    Args:
        crystals: Crystals, pymatgen structures or ASE atoms, 500 at most.
        title: Title of the page.

    Raises:
        SciflowError: There are none or too many.
    """
    if not 1 <= len(crystals) <= MOST:
        raise expected("crystals", len(crystals), f"1 to {MOST} in one page")
    data = json.dumps(
        [_entry(Crystal.of(thing), k) for k, thing in enumerate(crystals, 1)], allow_nan=False
    )
    # Inside a script element only "</" could end it.
    data = data.replace("</", "<\\/")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<nav><h1>{escape(title)}</h1></nav><main><header><h2></h2><p></p></header><canvas></canvas>"
        f'<footer></footer></main><script type="application/json" id="data">{data}</script>'
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def write(crystals: Sequence[Any], path: str | Path, title: str = "Crystals") -> None:
    """Write the page of some crystals.

    Args:
        crystals: Crystals, pymatgen structures or ASE atoms, 500 at most.
        path: A file ending in ``.html``; its folder is made.
        title: Title of the page.

    Raises:
        SciflowError: There are none or too many, or the file is of another kind or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise unknown(f"{path}: type of page", path.suffix, (".html", ".htm"))
    write_text(path, page(crystals, title))


def _entry(crystal: Crystal, number: int) -> dict[str, Any]:
    """Return what the script needs of one crystal."""
    problem = validity.problem(crystal)
    drawable = problem in ("", "atoms too close")
    named = problem not in ("unknown element", "no sites")
    empty: dict[str, Any] = {"atoms": [], "bonds": [], "edges": [], "radius": 1.0, "legend": {}}
    entry = {
        "title": crystal.formula if named else f"number {number}",
        "bad": bool(problem),
        **empty,
    }
    if not drawable:
        return entry | {"note": problem, "line": problem}
    shown = model(crystal)
    group = symmetry.space_group(crystal)
    a, b, c = crystal.lengths.tolist()
    alpha, beta, gamma = crystal.angles.tolist()
    sites = f"{len(crystal)} sites"
    note = problem or (f"{group[0]} · {sites}" if group else sites)
    facts = [group[0]] if group else []
    facts += [
        sites,
        f"a, b, c = {a:.3f}, {b:.3f}, {c:.3f} Å",
        f"α, β, γ = {alpha:.1f}, {beta:.1f}, {gamma:.1f}°",
    ]
    facts += [f"{crystal.density:.2f} g/cm³", problem]
    radius = max(float((shown.corners**2).sum(1).max()) ** 0.5, 1.0)
    atoms = [
        {
            "p": [round(x, 4) for x in place],
            "r": round(drawn_radius(z), 3),
            "c": hexed(colour_of(z)),
        }
        for z, place in zip(shown.species.tolist(), shown.points.tolist(), strict=True)
    ]
    return entry | {
        "note": note,
        "line": ",  ".join(fact for fact in facts if fact),
        "atoms": atoms,
        "bonds": [list(pair) for pair in shown.bonds],
        "edges": [[[round(x, 4) for x in end.tolist()] for end in edge] for edge in shown.edges],
        "radius": round(radius + 0.8, 3),
        "legend": {elements.symbol(z): hexed(colour_of(z)) for z in crystal.composition},
    }
