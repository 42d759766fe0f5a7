$w=[Diagnostics.Stopwatch]::StartNew()
$s=[Console]::OpenStandardOutput()
$v=@{n=0;q=0;h='';m=0;e='';o=[long]$offset;t='';g=0}
function Say($c,$a,$l,$b,$g){
$v.n++;$v.q=$w.ElapsedMilliseconds;$x=''
if($g){$x=[Convert]::ToBase64String($b,0,$g)}
$x=[Text.Encoding]::ASCII.GetBytes(('LW {0} {1} {2} {3} {4}' -f $v.n,$c,$a,$l,$x)+"`n")
$s.Write($x,0,$x.Length)}
function Stamp($p){$i=New-Object IO.FileInfo($p);if($i.Exists){'{0} {1}' -f $i.LastWriteTimeUtc.Ticks,$i.Length}else{''}}
function Part($p,$a,$m){
$f=New-Object IO.FileStream($p,[IO.FileMode]::Open,[IO.FileAccess]::Read,[IO.FileShare]'ReadWrite,Delete')
try{$v.l=$f.Length
if($a -gt $v.l){$a=0;$v.o=[long]0;$v.t=''}
$v.a=[Math]::Max([long]0,$a-8192)
if($m -lt 0){$v.a=[long]0;$m=[Math]::Min($v.l,4194305)}
$b=New-Object byte[] $m
[void]$f.Seek($v.a,[IO.SeekOrigin]::Begin)
$v.g=0
while($v.g -lt $m){$r=$f.Read($b,$v.g,$m-$v.g);if($r -le 0){break};$v.g+=$r}
}finally{$f.Dispose()}
,$b}
function Heartbeat{
$v.m++
$t=Stamp $heartbeat
if(-not $t){return}
if($t -ne $v.h){
$b=Part $heartbeat 0 -1
if($v.g -gt 4194304){Say 'L' 0 $v.l $null 0}else{Say 'H' 0 $v.g $b $v.g}
$v.h=$t}
$v.m=0}
function Events{
$t=Stamp $events
if(-not $t -or $t -eq $v.e){return}
while($true){
$b=Part $events $v.o 270336
$k=[int]($v.o-$v.a)
if($v.t -and [Convert]::ToBase64String($b,0,[Math]::Min($k,$v.g)) -cne $v.t){$v.o=[long]0;$v.t='';continue}
$z=0
if($v.g){$z=[Array]::LastIndexOf($b,[byte]10,$v.g-1)+1}
if($z -gt 0 -and $z -lt $v.g -and $b[$z] -eq 0){$z++}
if($z -le $k){if($v.g-$k -le 131072){break};$z=$v.g}
Say 'E' $v.a $v.l $b $z
$v.o=$v.a+$z
$y=[int][Math]::Min($v.o,8192)
$v.t=[Convert]::ToBase64String($b,$z-$y,$y)
if($v.a+$v.g -ge $v.l){break}}
$v.e=$t}
while($w.Elapsed.TotalHours -lt 24){
try{Heartbeat}catch [IO.IOException],[UnauthorizedAccessException]{}
if($v.m -eq 10){if(Stamp $heartbeat){exit 1};Say 'M' 0 0 $null 0}
if($events){try{Events}catch [IO.IOException],[UnauthorizedAccessException]{}}
if($w.ElapsedMilliseconds-$v.q -ge $alive){Say 'K' 0 0 $null 0}
Start-Sleep -Milliseconds $every}
exit 0
