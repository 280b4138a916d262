<?php
// Say what was received: php -S ADDRESS echo.php
file_get_contents('php://input');
$seen = [];
foreach ([$_SERVER, getallheaders(), $_COOKIE, $_GET] as $all) {
    foreach ($all as $name => $value) {
        $seen[] = [(string) $name, is_string($value) ? $value : json_encode($value)];
    }
}
header('Content-Type: application/json');
echo json_encode(['seen' => $seen], JSON_INVALID_UTF8_SUBSTITUTE);
