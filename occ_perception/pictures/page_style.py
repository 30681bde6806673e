"""Look and behaviour of the HTML report."""

STYLE = '''
:root{--paper:#f6f7f9;--card:#fff;--ink:#1b212b;--muted:#66707f;--line:#dfe3e9;--accent:#2f6fed;--other:#a9b3c2;
  color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#12151b;--card:#1b2028;--ink:#e8ebf0;--muted:#98a2b3;--line:#2c333f;
  --accent:#5b8ff5;--other:#5d6878}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1400px;margin:0 auto;padding:28px 20px 40px}
header h1{margin:0;font-size:28px;letter-spacing:-.01em}
header p{margin:4px 0 18px;color:var(--muted)}
h2{font-size:17px;margin:0 0 12px}
section h2:not(:first-child){margin-top:26px}
section:not(.cards):not(#player){background:var(--card);border:1px solid var(--line);border-radius:12px;
  padding:18px 20px;margin-top:16px}
.cards{display:grid;grid-template-columns:repeat(7,1fr);gap:12px;margin-bottom:16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 16px;display:flex;
  flex-direction:column}
.card b{font-size:26px;font-weight:600;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.card span{color:var(--muted);font-size:13px}
#screen{border:1px solid var(--line);border-radius:12px;overflow:hidden;background:#f7f8fa}
#screen img{width:100%;height:auto;display:block}#screen img[hidden]{display:none}
#controls{display:flex;gap:12px;align-items:center;padding:10px 4px 0}
#controls input{flex:1;accent-color:var(--accent)}
#controls button{width:40px;height:32px;border:1px solid var(--line);border-radius:8px;background:var(--card);
  color:var(--ink);font-size:13px;cursor:pointer}
#controls output{color:var(--muted);font-variant-numeric:tabular-nums;min-width:64px;text-align:right}
.two{display:grid;grid-template-columns:1fr 1fr;gap:16px}
@media (max-width:900px){.two{grid-template-columns:1fr}.cards{grid-template-columns:1fr 1fr}}
table{width:100%;border-collapse:collapse}
th{font-weight:400;text-align:left;padding:4px 10px 4px 0;white-space:nowrap}
td{padding:4px 6px;width:40%;color:var(--muted)}
.classes td{width:auto}.classes td:nth-child(2){width:46%}
.scores tr:nth-child(2) th{font-weight:600}.scores th{white-space:normal;width:34%}.scores td{width:33%}
td.number{text-align:right;font-variant-numeric:tabular-nums;font-size:13px}
.classes tr:first-child td{font-size:12px;vertical-align:bottom}
.bar{display:flex;align-items:center;gap:8px}
.bar b{flex:1;height:16px;background:var(--paper);border-radius:4px;overflow:hidden}
.bar i{display:block;height:100%;border-radius:4px}
.bar em{width:34px;text-align:right;font-style:normal;font-size:13px;color:var(--ink);font-variant-numeric:tabular-nums}
.swatch{display:inline-block;width:13px;height:13px;border-radius:3px;margin-right:8px;vertical-align:-1px;
  border:1px solid var(--line)}
svg{width:100%;height:auto;display:block}svg text{fill:var(--muted);font-size:11px}
svg .grid{stroke:var(--line)}svg .latency{fill:var(--accent);opacity:.55}svg .mark{stroke:var(--ink);stroke-dasharray:4 3}
svg text.mark{stroke:none;fill:var(--ink)}
ul{margin:0;padding-left:20px}li{margin:3px 0}
footer{margin-top:18px;color:var(--muted);font-size:13px}code{font-size:12px}
'''

SCRIPT = '''
const player = document.getElementById('player');
if (player) {
  const images = [...player.querySelectorAll('img')], seek = document.getElementById('seek');
  const count = document.getElementById('count'), play = document.getElementById('play');
  let at = 0, timer = null;
  const show = k => {
    images[at].hidden = true;
    at = (k + images.length) % images.length;
    images[at].hidden = false;
    seek.value = at;
    count.textContent = (at + 1) + ' / ' + images.length;
  };
  const toggle = () => {
    if (timer) { clearInterval(timer); timer = null; }
    else { timer = setInterval(() => show(at + 1), +player.dataset.period); }
    play.textContent = timer ? '\\u275A\\u275A' : '\\u25B6';
  };
  const pause = () => { if (timer) toggle(); };
  play.onclick = toggle;
  seek.oninput = () => { pause(); show(+seek.value); };
  addEventListener('keydown', event => {
    if (event.target.tagName === 'BUTTON') return;
    if (event.key === 'ArrowRight') { pause(); show(at + 1); }
    if (event.key === 'ArrowLeft') { pause(); show(at - 1); }
    if (event.key === ' ') { event.preventDefault(); toggle(); }
  });
  toggle();
}
'''
