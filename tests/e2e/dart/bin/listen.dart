/// Follows the relay's WebSocket: prints each message as a line, and when the connection is lost comes back with the
/// position of the last event that it printed.
///
///     dart listen.dart ws://localhost:8000/api/files/ws
library;

import 'dart:convert';
import 'dart:io';

Future<void> main(List<String> arguments) async {
  final socketUrl = Uri.parse(arguments.single);
  Object? position;
  while (true) {
    final url = position == null ? socketUrl : socketUrl.replace(queryParameters: {'after': '$position'});
    try {
      final socket = await WebSocket.connect('$url');
      await for (final message in socket) {
        position = (jsonDecode(message as String) as Map)['id'] ?? position;
        stdout.writeln(message);
        await stdout.flush();
      }
    } on IOException {
      // The gateway is away: it is asked again below.
    }
    await Future<void>.delayed(const Duration(milliseconds: 50));
  }
}
